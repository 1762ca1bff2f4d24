"""Mouths that photographs are given: how the face mesh moves when the head model speaks, and what lies behind lips.

Nobody is made to say anything: mouths change from shape to shape at random, without sound. Lips, beard, skin and light
are the photograph's; teeth are where it shows them, else painted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.corpus.mesh import MESH_68, MESH_OUTLINE
from model_server.errors import PoseDubError
from model_server.pipeline.faces.models import models
from model_server.pipeline.faces.relief import MESH_POINTS
from model_server.pipeline.faces.triangulation import lie_inside, triangulated
from model_server.synthetic.actor import Detail, Frame, Pose, make_actor, render
from model_server.synthetic.appearance import random_look
from model_server.synthetic.head import HeadModel, load_head
from model_server.synthetic.motion import eased_path
from model_server.synthetic.rasterizer import Camera, barycentrics
from model_server.synthetic.visemes import VISEMES, mouth_shape

Floats = NDArray[np.floating]
Picture = NDArray[np.uint8]

# The face mesh's inner lips, upper and lower, between the mouth's corners.
_UPPER_LIP, _LOWER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415), (95, 88, 178, 87, 14, 317, 402, 318, 324)
_CORNERS = 78, 308
_INNER_LIPS = (_CORNERS[0], *_UPPER_LIP, _CORNERS[1], *_LOWER_LIP[::-1])
_UPPER, _LOWER = 13, 14  # their middles
_EYES = 33, 263  # outer corners
# The head on which the mesh is found: lips apart, so that upper and lower ones are told from each other.
_APART = {"jawOpen": 0.3}
_SIDE, _DISTANCE, _FOCAL = 512, 90.0, 1700.0
_SEED = 5
_RAISED = "mouthUpperUp_L", "mouthUpperUp_R"
_MOVING = ("jaw", "mouth", "cheek", "noseSneer")
# Lips of photographs that are open wider than that, in spans, show teeth.
_SHOWS = 0.035
# Frames from shape to shape, as long as syllables last; and how far people move their mouths.
_KEYS = (1.5, 4.0)
_EFFORT = (0.5, 1.5)
# Part of the way to closed lips on which a smiling photograph's mouth rests.
_CLOSED = (0.0, 0.85)
_LOWER_PART = 0.6
# Teeth in spans, from the middle on: their widths, how much of them lips hide at rest, how far they reach below these,
# how much less far each one than that before it, and how round they are. Each is that much darker; so dark are gaps.
_WIDTHS, _UNDER, _BELOW, _RISING, _ROUND = (0.062, 0.050, 0.052, 0.045, 0.042), 0.10, (0.02, 0.055), 0.003, 0.007
_DARKER, _GAP = 0.12, 0.82
_ENAMEL, _DEEP, _TONGUE = (226, 216, 200), (46, 18, 18), (150, 78, 76)


@dataclass(frozen=True)
class MouthMotion:
    """How a face mesh moves.

    Attributes:
        names: of E expressions of the head model.
        offsets: (E, 468, 3) of the mesh's points at weight 1 in spans, the distance between the eyes' outer corners; x
            to the viewer's right, y up, z out of the face.
        places: (468, 2) of these points on a face with open lips, seen from the front, pixels.
    """

    names: tuple[str, ...]
    offsets: Floats
    places: Floats

    @cached_property
    def skin(self) -> NDArray[np.int32]:
        """Triangles (T, 3) of the face, none of which joins an upper lip to a lower one."""
        triangles = triangulated(self.places)
        between = lie_inside(self.places, triangles, _INNER_LIPS) | np.isin(triangles, _INNER_LIPS).all(axis=1)
        return triangles[lie_inside(self.places, triangles, MESH_OUTLINE) & ~between]

    def moved(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        """Offsets (468, 3) under expression weights by name."""
        row = np.array([weights.get(name, 0.0) for name in self.names])
        return np.tensordot(row, self.offsets, 1)

    def resting(self, opening: float, share: float) -> dict[str, float]:
        """Weights that close lips by a share of their opening in spans."""
        dropped = -float(self.moved({"jawOpen": 1.0})[_LOWER, 1])
        raised = float(self.moved(dict.fromkeys(_RAISED, 1.0))[_UPPER, 1])
        upper = -share * (1 - _LOWER_PART) * opening / raised
        return {"jawOpen": -share * _LOWER_PART * opening / dropped} | dict.fromkeys(_RAISED, upper)


@lru_cache(maxsize=1)
def mouth_motion(ict: Path) -> MouthMotion:
    """How the mesh moves, found on a rendered face of the head model.

    Raises:
        PoseDubError: the head model cannot be read, lacks expressions, or no face is found on it.
    """
    head = load_head(ict)
    lacking = {"jawOpen", *_RAISED} - set(head.expression_names)
    if lacking:
        raise PoseDubError(f"The head model {ict} lacks {', '.join(sorted(lacking))}; give ICT-FaceKit's ict.npz.")
    look = replace(random_look(np.random.default_rng(_SEED)), style="bald", stubble=0.0, beard=0.0, glasses=None)
    actor = make_actor(head, _SEED, Detail(256, 400, 1), look)
    camera = Camera((_SIDE, _SIDE), _FOCAL, _DISTANCE, (_SIDE / 2, _SIDE * 0.52))
    frame = render(actor, _APART, Pose(), camera, np.full((_SIDE, _SIDE, 3), 0.4, np.float32))
    with models() as ready:
        found = ready.meshes(frame.image, faces=1)
    if not found:
        raise PoseDubError(f"No face is found on the head model {ict}; give ICT-FaceKit's ict.npz.")
    places = found[0].points[:MESH_POINTS, :2].astype(np.float64)
    corners, weights = _surface_at(frame, head, actor.triangles, places)
    names = tuple(name for name in head.expression_names if name.startswith(_MOVING))
    rows = [head.expression_names.index(name) for name in names]
    marks = actor.shape[head.landmarks]
    span = np.linalg.norm(marks[36] - marks[45])
    offsets = np.einsum("evck,vc->evk", head.expressions[rows][:, corners], weights) / span
    return MouthMotion(names, offsets, places)


def _surface_at(
    frame: Frame, head: HeadModel, triangles: NDArray[np.int32], points: Floats
) -> tuple[NDArray[np.int32], Floats]:
    """Corners (n, 3) and their weights (n, 3) of the skin that shows nearest to points (n, 2) of the picture."""
    skin = np.isin(head.parts, ("Face", "BackHead"))
    ids = frame.triangle_ids
    rows, columns = np.nonzero((ids >= 0) & (ids < len(skin)) & np.append(skin, False)[np.minimum(ids, len(skin))])
    there = np.column_stack([columns, rows]) + 0.5
    nearest = np.array([((there - point) ** 2).sum(axis=1).argmin() for point in points])
    weights = barycentrics(frame.screen, triangles, ids)[rows[nearest], columns[nearest]]
    return triangles[ids[rows[nearest], columns[nearest]]], weights


def mouth_path(rng: np.random.Generator, frames: int) -> list[dict[str, float]]:
    """Expression weights of so many frames, from one random shape to the next, over those at rest."""
    times = [0.0]
    while times[-1] < frames:
        times.append(times[-1] + rng.uniform(*_KEYS))
    keys = np.stack([_visemes(rng) for _ in times])
    effort = rng.uniform(*_EFFORT)
    return [mouth_shape(row, effort) for row in eased_path(keys, times, frames, 1.0)]


def _visemes(rng: np.random.Generator) -> Floats:
    """One viseme, or a mixture of two (17,)."""
    both, share = rng.choice(len(VISEMES), 2, replace=False), rng.uniform(0.6, 1)
    weights = np.zeros(len(VISEMES))
    weights[both] = share, 1 - share
    return weights


def span(points: Floats) -> float:
    """Distance between the eyes' outer corners of a mesh (468, 3)."""
    return float(np.linalg.norm(points[_EYES[0]] - points[_EYES[1]]))


def opening(points: Floats) -> float:
    """How far the lips of a mesh (468, 3) are open, in spans."""
    return float(np.linalg.norm(points[_UPPER] - points[_LOWER])) / span(points)


def at_rest(rng: np.random.Generator, motion: MouthMotion, points: Floats) -> dict[str, float]:
    """Weights of the mouth at rest of a mesh (468, 3) as photographed: open ones close more or less."""
    return motion.resting(opening(points), rng.uniform(*_CLOSED))


def inner_mouth(photograph: Picture, points: Floats, rng: np.random.Generator) -> Picture:
    """What would show if the lips were away: a picture (h, w, 3) as large as the photograph.

    Args:
        photograph: (h, w, 3).
        points: the mesh in it (468, 3), pixels.
    """
    unit, lips = span(points), points[list(_INNER_LIPS), :2]
    behind = _cavity(photograph.shape[0], photograph.shape[1], points, unit)
    if opening(points) > _SHOWS:
        shown = np.zeros(photograph.shape[:2], np.uint8)
        cv2.fillPoly(shown, [np.rint(lips).astype(np.int32)], (255,))
        edge = max(int(unit * 0.008), 1)
        inside = cv2.erode(shown, np.ones((2 * edge + 1, 2 * edge + 1), np.uint8))
        return _laid(behind, photograph, _blurred(inside, unit * 0.012))
    return _laid(behind, *_teeth(photograph, points, unit, rng))


def _cavity(height: int, width: int, points: Floats, unit: float) -> Picture:
    """The dark, with a tongue further down."""
    middle = (points[_UPPER, :2] + points[_LOWER, :2]) / 2
    y, x = np.mgrid[:height, :width]
    depth = np.clip((y - middle[1]) / (0.32 * unit), 0, 1) * np.clip(1 - ((x - middle[0]) / (0.22 * unit)) ** 2, 0, 1)
    mixed = np.array(_DEEP) + 0.55 * depth[..., None] ** 2 * (np.array(_TONGUE) - _DEEP)
    return np.asarray(mixed, np.uint8)


def _teeth(photograph: Picture, points: Floats, unit: float, rng: np.random.Generator) -> tuple[Picture, Picture]:
    """Painted upper teeth, and where they are (h, w), 0 to 255."""
    shape, tone = np.zeros(photograph.shape[:2], np.uint8), np.zeros(photograph.shape, np.uint8)
    left, right = points[_CORNERS[0], :2], points[_CORNERS[1], :2]
    across = (right - left) / np.linalg.norm(right - left)
    down, middle = np.array([-across[1], across[0]]), (points[_UPPER, :2] + points[_LOWER, :2]) / 2
    (first, top), (last, bottom) = points[:, :2].min(axis=0).astype(int), points[:, :2].max(axis=0).astype(int)
    face = photograph[max(top, 0) : bottom, max(first, 0) : last]
    light = np.clip(face.mean() / 128, 0.5, 1.05) * rng.uniform(0.8, 1.0)
    size, below = rng.uniform(0.9, 1.1), rng.uniform(*_BELOW)
    for side in (-1, 1):
        near = 0.0
        for number, width in enumerate(_WIDTHS):
            far, low = near + width * size, below - _RISING * number
            box = np.array([[near, -_UNDER], [far, -_UNDER], [far, low - _ROUND], [far - _ROUND, low],
                            [near + _ROUND, low], [near, low - _ROUND]]) * unit  # fmt: skip
            polygon = [np.rint((middle + side * box[:, :1] * across + box[:, 1:] * down) * 8).astype(np.int32)]
            colour = [int(c * light * (1 - _DARKER * number)) for c in _ENAMEL]
            cv2.fillPoly(shape, polygon, (255,), cv2.LINE_8, 3)
            cv2.fillPoly(tone, polygon, colour, cv2.LINE_8, 3)
            cv2.polylines(tone, polygon, True, [int(c * _GAP) for c in colour], 1, cv2.LINE_8, 3)
            near = far
    tone[shape == 0] = [int(c * light) for c in _ENAMEL]
    return _blurred(tone, unit * 0.006), _blurred(shape, unit * 0.006)


def _blurred(picture: NDArray, sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def _laid(below: Picture, above: Picture, alpha: Picture) -> Picture:
    share = alpha[..., None] / np.float32(255)
    return np.asarray(below + share * (above - below.astype(np.float32)), np.uint8)


def between_lips() -> NDArray[np.int32]:
    """Triangles (18, 3) of the mesh between upper and lower lip."""
    upper = (_CORNERS[0], *_UPPER_LIP, _CORNERS[1])
    strip = [(upper[k], upper[k + 1], _LOWER_LIP[min(k, 8)]) for k in range(10)]
    strip += [(upper[k + 1], _LOWER_LIP[k + 1], _LOWER_LIP[k]) for k in range(8)]
    return np.array(strip, np.int32)


def head_still(points: Floats, screen: Floats) -> Floats:
    """Transform (2, 3) from the picture with a mesh at `screen` (468, 2) to that with it at `points`, of what no mouth
    moves: nose and eyes."""
    held = [MESH_68[k] for k in (*range(27, 36), *range(36, 48))]
    known = np.column_stack([screen[held, :2], np.ones(len(held))])
    solved, *_ = np.linalg.lstsq(known, points[held, :2], rcond=None)
    return np.asarray(solved.T)
