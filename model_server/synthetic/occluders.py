"""Things in front of a mouth, as pictures with their own outline: hands, microphones, glasses and cloth.

They need not look like real ones: what learns from them is only where something lies over a face.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Shape = Callable[[np.random.Generator, "Plane"], tuple[Floats, Floats]]

# An edge is so many pixels soft.
_SOFT = 1.5
_SKIN = np.array([[0.95, 0.78, 0.68], [0.80, 0.58, 0.45], [0.55, 0.36, 0.26], [0.32, 0.20, 0.14]], np.float32)


@dataclass(frozen=True)
class Plane:
    """Places of the pixels of a picture of `side`: x and y (side, side), from 0 to 1."""

    side: int
    x: Floats
    y: Floats

    @staticmethod
    def of(side: int) -> Plane:
        """All pixels' centres."""
        y, x = (np.mgrid[:side, :side].astype(np.float32) + 0.5) / side
        return Plane(side, x, y)

    def inside(self, distance: Floats) -> Floats:
        """Cover in [0, 1] of what is inside where `distance` (side, side), in widths of the picture, is positive."""
        return np.clip(distance * self.side / _SOFT + 0.5, 0, 1).astype(np.float32)

    def capsule(self, start: NDArray, end: NDArray, radius: float) -> Floats:
        """Distance into a stroke of some radius from one point (2,) to another."""
        along = end - start
        t = ((self.x - start[0]) * along[0] + (self.y - start[1]) * along[1]) / max(float(along @ along), 1e-6)
        t = np.clip(t, 0, 1)
        gap = np.hypot(self.x - start[0] - t * along[0], self.y - start[1] - t * along[1])
        return np.asarray(radius - gap, np.float32)


def occluder(rng: np.random.Generator, side: int) -> Floats:
    """Something that covers a part of a lower face: RGBA (side, side, 4) in [0, 1], colours not multiplied by alpha."""
    plane = Plane.of(side)
    shape = _SHAPES[int(rng.integers(len(_SHAPES)))]
    colour, cover = shape(rng, plane)
    lit = colour * _light(rng, plane)[..., None] + rng.normal(0, 0.02, colour.shape)
    return np.dstack([np.clip(lit, 0, 1), cover]).astype(np.float32)


def _hand(rng: np.random.Generator, plane: Plane) -> tuple[Floats, Floats]:
    """Two to four fingers from a palm that comes in from a side or from below."""
    angle = rng.uniform(-np.pi, 0)
    away = np.array([np.cos(angle), np.sin(angle)])
    tips = rng.uniform(0.25, 0.75, 2)
    palm = tips - away * rng.uniform(0.35, 0.6)
    across = np.array([-away[1], away[0]])
    radius, count = rng.uniform(0.05, 0.085), int(rng.integers(2, 5))
    distance = plane.capsule(palm, palm - 2 * away, radius * count * 1.1)
    shade = np.zeros_like(distance)
    for finger in range(count):
        offset = across * (finger - (count - 1) / 2) * radius * 2.05
        reach = tips + offset + away * rng.uniform(-0.06, 0.06)
        part = plane.capsule(palm + offset, reach, radius)
        distance, shade = np.maximum(distance, part), np.maximum(shade, np.clip(part / radius, 0, 1))
    skin = _SKIN[int(rng.integers(len(_SKIN)))] * rng.uniform(0.8, 1.1)
    return skin * (0.65 + 0.35 * shade[..., None]), plane.inside(distance)


def _microphone(rng: np.random.Generator, plane: Plane) -> tuple[Floats, Floats]:
    """A ball of wire or foam on a stick."""
    middle, radius = rng.uniform([0.25, 0.3], [0.75, 0.95]), rng.uniform(0.1, 0.22)
    foot = middle + np.array([rng.uniform(-0.5, 0.5), 1.0])
    ball, stick = plane.capsule(middle, middle, radius), plane.capsule(middle, foot, radius * rng.uniform(0.35, 0.8))
    mesh = 0.5 + 0.5 * np.sign(np.sin(plane.x * rng.uniform(90, 200)) * np.sin(plane.y * rng.uniform(90, 200)))
    grey = rng.uniform(0.05, 0.6, 3) if rng.random() < 0.3 else np.full(3, rng.uniform(0.05, 0.6))
    bright = 0.7 + 0.3 * np.clip(ball / radius, 0, 1) + rng.uniform(0, 0.3) * (mesh - 0.5)
    return (grey * bright[..., None]).astype(np.float32), plane.inside(np.maximum(ball, stick))


def _glass(rng: np.random.Generator, plane: Plane) -> tuple[Floats, Floats]:
    """A cup or a bottle, held up to the mouth; what is in it hides the face as well."""
    left, width = rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.45)
    top, slant = rng.uniform(0.1, 0.6), rng.uniform(-0.3, 0.3)
    x = plane.x - slant * (plane.y - top)
    distance = np.minimum.reduce([x - left, left + width - x, plane.y - top])
    shine = np.exp(-(((x - left - width * rng.uniform(0.2, 0.8)) / 0.02) ** 2))
    colour = rng.uniform(0.1, 0.9, 3) * np.ones((plane.side, plane.side, 3))
    return np.clip(colour + 0.5 * shine[..., None], 0, 1).astype(np.float32), plane.inside(distance)


def _cloth(rng: np.random.Generator, plane: Plane) -> tuple[Floats, Floats]:
    """A scarf, a sleeve or a mask: an edge with folds and a pattern."""
    angle, level = rng.uniform(-0.6, 0.6) + (np.pi if rng.random() < 0.2 else 0), rng.uniform(0.2, 0.8)
    down = np.sin(angle) * (plane.x - 0.5) + np.cos(angle) * (plane.y - 0.5) + 0.5
    waves = 0.03 * np.sin(plane.x * rng.uniform(5, 25) + rng.uniform(0, 6))
    folds = 0.8 + 0.2 * np.sin(plane.x * rng.uniform(-20, 20) + plane.y * rng.uniform(-20, 20))
    stripes = np.sign(np.sin(plane.y * rng.uniform(20, 120))) if rng.random() < 0.4 else np.zeros_like(plane.x)
    one, other = rng.uniform(0, 1, (2, 3))
    pattern = np.where(stripes[..., None] > 0, one, other) if stripes.any() else one * np.ones((*plane.x.shape, 3))
    return (pattern * folds[..., None]).astype(np.float32), plane.inside(down + waves - level)


def _thing(rng: np.random.Generator, plane: Plane) -> tuple[Floats, Floats]:
    """Some thing with straight edges: a book, a telephone, a table's edge."""
    turn, middle = rng.uniform(0, np.pi), rng.uniform(0.15, 0.85, 2)
    half = rng.uniform(0.08, 0.35, 2)
    x = np.cos(turn) * (plane.x - middle[0]) + np.sin(turn) * (plane.y - middle[1])
    y = np.cos(turn) * (plane.y - middle[1]) - np.sin(turn) * (plane.x - middle[0])
    distance = np.minimum(half[0] - np.abs(x), half[1] - np.abs(y))
    colour = rng.uniform(0, 1, 3) + 0.15 * np.sin(x * rng.uniform(0, 80))[..., None]
    return np.clip(colour, 0, 1).astype(np.float32), plane.inside(distance)


def _light(rng: np.random.Generator, plane: Plane) -> Floats:
    """Lightness that changes from side to side."""
    across, down = rng.uniform(-0.5, 0.5, 2)
    return np.asarray(rng.uniform(0.5, 1.1) * (1 + across * (plane.x - 0.5) + down * (plane.y - 0.5)), np.float32)


_SHAPES: tuple[Shape, ...] = (_hand, _hand, _microphone, _glass, _cloth, _thing)
