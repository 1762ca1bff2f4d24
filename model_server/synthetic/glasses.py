"""Glasses, as strands like hair: rims, bridge and temples, and lenses that are too dark to look through.

A strand becomes a ribbon that faces the camera; one whose width changes along it is a lens. All lengths are cm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_server.synthetic import hair
from model_server.synthetic.appearance import Glasses, linear
from model_server.synthetic.head import HeadModel

Floats = npt.NDArray[np.floating]

_EYES = (slice(36, 42), slice(42, 48))
_NOSE_BRIDGE = 27
_POINTS = 28  # of a rim
_BEFORE_EYES = 2.0  # cm from the eyes' outline to the lenses
_WRAP = 0.035  # how much a frame bends back towards the temples, per cm
_EAR = (8.4, 2.2, -0.5)  # where a temple rests: |x|, height over the eyes, z
_COLOURS = (
    (0.03, 0.03, 0.03), (0.10, 0.07, 0.05), (0.25, 0.13, 0.07), (0.45, 0.43, 0.40),
    (0.55, 0.45, 0.25), (0.30, 0.05, 0.06), (0.08, 0.12, 0.25), (0.75, 0.72, 0.68),
)  # fmt: skip


def random_glasses(rng: np.random.Generator) -> Glasses:
    """Some glasses; one pair in eight is dark."""
    rimless = bool(rng.random() < 0.15)
    return Glasses(
        width=float(rng.uniform(4.4, 5.6)),
        height=float(rng.uniform(3.0, 4.8)),
        squareness=float(rng.uniform(2.0, 5.0)),
        thickness=float(rng.uniform(0.08, 0.16) if rng.random() < 0.5 else rng.uniform(0.2, 0.5)),
        colour=linear(_COLOURS[rng.integers(len(_COLOURS))]) * np.float32(rng.uniform(0.7, 1.3)),
        rimless=rimless,
        dark=bool(rng.random() < 0.12) and not rimless,
        glare=int(rng.integers(1, 3)) if rng.random() < 0.25 else 0,
    )


def wear(head: HeadModel, face: Floats, glasses: Glasses, rng: np.random.Generator) -> hair.Strands:
    """Glasses on a face with neutral vertices (V, 3); they move with the bridge of the nose."""
    marks = face[head.landmarks]
    eyes = [marks[eye].mean(0) for eye in _EYES]
    level = max(float(eye[2]) for eye in eyes) + _BEFORE_EYES
    parts = [_lens(eye, level, glasses, rng) for eye in eyes]
    parts.append([_piece(_bridge(eyes, level, glasses), glasses.thickness * 1.1, glasses.colour)])
    parts.append([_piece(_temple(eye, level, glasses), glasses.thickness * 1.3, glasses.colour) for eye in eyes])
    pieces = [piece for part in parts for piece in part]
    root = int(head.landmarks[_NOSE_BRIDGE])
    return hair.join([hair.Strands(p[None], np.array([root], np.int64), w[None], c[None]) for p, w, c in pieces])


def _lens(eye: Floats, level: float, glasses: Glasses, rng: np.random.Generator) -> list[tuple[Floats, Floats, Floats]]:
    """Rim, and what is seen on the lens, of one eye's glass."""
    turn = np.linspace(0, 2 * np.pi, _POINTS)
    x, y = (np.sign(f(turn)) * np.abs(f(turn)) ** (2 / glasses.squareness) for f in (np.cos, np.sin))
    across, up = glasses.width / 2 * x, glasses.height / 2 * y
    rim = _placed(eye, level, across, up)
    if glasses.rimless:
        rim = rim[: _POINTS // 2 + 1]  # what holds the glass above
    made = [_piece(rim, glasses.thickness, glasses.colour)]
    if glasses.dark:
        made.append(_dark(eye, level, glasses))
    for _ in range(glasses.glare):
        start, slope = rng.uniform(-0.3, 0.2) * glasses.width, rng.uniform(0.5, 1.5)
        t = np.linspace(0, 0.25, 4) * glasses.width
        streak = _placed(eye, level + 0.1, start + t, (slope * t - 0.1 * glasses.height))
        made.append(_piece(streak, float(rng.uniform(0.06, 0.2)), np.array([0.4, 0.43, 0.46], np.float32)))
    return made


def _dark(eye: Floats, level: float, glasses: Glasses) -> tuple[Floats, Floats, Floats]:
    """A ribbon from side to side, as wide at each place as the lens is high there."""
    x = np.linspace(-1, 1, _POINTS)
    height = glasses.height * (1 - np.abs(x) ** glasses.squareness) ** (1 / glasses.squareness)
    points = _placed(eye, level - 0.05, glasses.width / 2 * x, 0 * x)
    colours = np.tile(linear([0.05, 0.05, 0.06]), (_POINTS, 1))
    return points, height.astype(np.float32), colours.astype(np.float32)


def _bridge(eyes: list[Floats], level: float, glasses: Glasses) -> Floats:
    inner = [_placed(eye, level, -np.sign(eye[0]) * np.array([glasses.width / 2]), np.array([0.35])) for eye in eyes]
    t = np.linspace(0, 1, 6)[:, None]
    arc = np.array([0.0, 0.35, 0.35]) * np.sin(np.pi * t)
    return np.asarray(inner[0] * (1 - t) + inner[1] * t + arc, np.float32)


def _temple(eye: Floats, level: float, glasses: Glasses) -> Floats:
    side = np.sign(eye[0])
    start = _placed(eye, level, side * np.array([glasses.width / 2]), np.array([0.3 * glasses.height]))[0]
    ear = np.array([side * _EAR[0], eye[1] + _EAR[1] * 0.5, _EAR[2]])
    hinge = start + [side * 0.35, 0.0, -0.5]
    behind = ear + [0.0, -1.8, -1.2]
    t = np.linspace(0, 1, 8)[:, None]
    return np.concatenate([[start], hinge * (1 - t) + ear * t, [behind]]).astype(np.float32)


def _placed(eye: Floats, level: float, across: Floats, up: Floats) -> Floats:
    """Points (N, 3) on a lens, whose plane bends back to the sides."""
    x, y = eye[0] + across, eye[1] - 0.2 + up
    return np.stack([x, y, level - _WRAP * x**2 - 0.06 * np.clip(-up, 0, None)], 1).astype(np.float32)


def _piece(points: Floats, width: float, colour: Floats) -> tuple[Floats, Floats, Floats]:
    count = len(points)
    return points, np.full(count, width, np.float32), np.tile(colour, (count, 1)).astype(np.float32)
