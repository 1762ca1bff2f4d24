"""Places behind a person, made up but as full as photographs are: rooms, streets, leaves, stages, out of focus or not.

Pictures (H, W, 3) are linear light. Nothing in them is anybody's picture.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from model_server.synthetic.appearance import linear

Floats = npt.NDArray[np.floating]
Scene = Callable[[np.random.Generator, int], Floats]

_SIDE = 320  # of the picture that is drawn, then enlarged
_OCTAVES = 5


def background(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Some place, as a camera with a random focus sees it, (H, W, 3) linear light."""
    scene = _SCENES[int(rng.integers(len(_SCENES)))](rng, _SIDE)
    blur = float(rng.uniform(0.0, 1.0) ** 2 * 9)
    focused = cv2.GaussianBlur(scene, (0, 0), blur) if blur > 0.3 else scene
    lit = focused * (rng.uniform(0.4, 1.2) * _shade(rng, _SIDE))[..., None]
    enlarged = cv2.resize(lit.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(enlarged, 0.001, 3.0).astype(np.float32)


def _room(rng: np.random.Generator, side: int) -> Floats:
    """A wall with shelves of books, pictures, a window or a door."""
    picture = _wall(rng, side)
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.5:
            _shelf(rng, picture)
        else:
            _framed(rng, picture)
    if rng.random() < 0.5:
        _window(rng, picture)
    return picture


def _street(rng: np.random.Generator, side: int) -> Floats:
    """Sky, houses with windows, and lights."""
    sky = linear(_colour(rng, (0.45, 0.9), 0.15))
    picture = np.tile(sky, (side, side, 1)) * np.linspace(1.3, 0.8, side)[:, None, None]
    x = 0
    while x < side:
        width, top = int(rng.integers(30, 120)), int(rng.integers(0, side // 2))
        house = linear(_colour(rng, (0.15, 0.6), 0.12))
        picture[top:, x : x + width] = house * rng.uniform(0.6, 1.2)
        step, size = int(rng.integers(10, 26)), int(rng.integers(4, 9))
        glass = house * rng.uniform(0.2, 2.0)
        for row in range(top + step // 2, side, step):
            for column in range(x + step // 3, min(x + width, side) - size, step):
                picture[row : row + size, column : column + size] = glass * rng.uniform(0.6, 1.4)
        x += width
    _lights(rng, picture)
    return picture


def _leaves(rng: np.random.Generator, side: int) -> Floats:
    """Trees, hedges and grass in the sun."""
    form = _clouds(rng, side)
    dark, bright = (
        linear(_colour(rng, (0.05, 0.25), 0.08)),
        linear(np.array([0.45, 0.55, 0.25]) * rng.uniform(0.6, 1.3)),
    )
    sky = linear(_colour(rng, (0.6, 0.95), 0.1))
    picture = dark + (bright - dark) * np.clip(form * 2 - 0.5, 0, 1)[..., None]
    gaps = np.clip((_clouds(rng, side) - 0.62) * 12, 0, 1)[..., None] * np.linspace(1, 0, side)[:, None, None]
    picture = picture * (1 - gaps) + sky * gaps
    _lights(rng, picture)
    return picture.astype(np.float32)


def _stage(rng: np.random.Generator, side: int) -> Floats:
    """A banner with stripes and marks like letters, or a studio with coloured lamps."""
    picture = np.tile(linear(_colour(rng, (0.02, 0.9), 0.3)), (side, side, 1)).astype(np.float32)
    other = linear(_colour(rng, (0.05, 0.9), 0.3))
    for _ in range(int(rng.integers(2, 6))):
        y, x = rng.integers(0, side, 2)
        height, count = int(rng.integers(6, 40)), int(rng.integers(3, 14))
        for k in range(count):
            left = int(x + k * height * 0.7)
            end = (left + int(height * rng.uniform(0.2, 0.6)), int(y + height * rng.uniform(0.5, 1)))
            cv2.rectangle(picture, (left, int(y)), end, other.tolist(), -1)
    _lights(rng, picture)
    return picture


def _surface(rng: np.random.Generator, side: int) -> Floats:
    """Bricks, planks, curtains: something that repeats."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    base, period = linear(_colour(rng, (0.15, 0.75), 0.15)), rng.uniform(8, 50)
    wave = np.sin(2 * np.pi * (x + 4 * _clouds(rng, side)) / period)
    if rng.random() < 0.5:
        rows = np.floor(y / (period * 0.6))
        joint = ((x + (rows % 2) * period / 2) % period < 2) | (y % (period * 0.6) < 2)
        wave = np.where(joint, 1.0, -0.3)
    strength = rng.uniform(0.1, 0.45)
    return (base * (1 + strength * wave + 0.3 * (_clouds(rng, side) - 0.5))[..., None]).clip(0.002).astype(np.float32)


def _wall(rng: np.random.Generator, side: int) -> Floats:
    base = linear(_colour(rng, (0.3, 0.9), 0.1))
    return (base * (0.85 + 0.3 * _clouds(rng, side))[..., None]).astype(np.float32)


def _shelf(rng: np.random.Generator, picture: Floats) -> None:
    side = len(picture)
    top, height, x = int(rng.integers(0, side - 60)), int(rng.integers(25, 60)), int(rng.integers(0, side // 2))
    end = x + int(rng.integers(60, side))
    while x < min(end, side):
        width, low = int(rng.integers(3, 12)), top + int(rng.integers(0, height // 3))
        picture[low : top + height, x : x + width] = linear(_colour(rng, (0.05, 0.8), 0.3))
        x += width
    picture[top + height : top + height + 4, : min(end, side)] = linear([0.25, 0.18, 0.12])


def _framed(rng: np.random.Generator, picture: Floats) -> None:
    side = len(picture)
    y, x = rng.integers(0, side - 40, 2)
    height, width = rng.integers(30, 110, 2)
    picture[y : y + height, x : x + width] = linear(_colour(rng, (0.05, 0.5), 0.05))
    inner = picture[y + 4 : y + height - 4, x + 4 : x + width - 4]
    inner[:] = (
        linear(_colour(rng, (0.2, 0.9), 0.3)) * (0.5 + _clouds(rng, side))[: inner.shape[0], : inner.shape[1], None]
    )


def _window(rng: np.random.Generator, picture: Floats) -> None:
    side = len(picture)
    y, x = int(rng.integers(0, side // 2)), int(rng.integers(0, side - 60))
    height, width = rng.integers(70, 170, 2)
    picture[y : y + height, x : x + width] = linear(_colour(rng, (0.7, 1.0), 0.08)) * rng.uniform(1.0, 2.5)
    bar = linear(_colour(rng, (0.2, 0.9), 0.05))
    picture[y : y + height, x + width // 2 - 2 : x + width // 2 + 2] = bar
    picture[y + height // 2 - 2 : y + height // 2 + 2, x : x + width] = bar


def _lights(rng: np.random.Generator, picture: Floats) -> None:
    """Discs of lamps out of focus."""
    side, radius = len(picture), float(rng.uniform(2, 16))
    for _ in range(int(rng.integers(0, 9))):
        x, y = (int(v) for v in rng.integers(0, side, 2))
        glow = linear(_colour(rng, (0.5, 1.0), 0.3)) * rng.uniform(0.8, 3.0)
        cv2.circle(picture, (x, y), max(int(radius * rng.uniform(0.6, 1.2)), 1), glow.tolist(), -1, cv2.LINE_AA)


def _colour(rng: np.random.Generator, level: tuple[float, float], spread: float) -> Floats:
    return np.clip(rng.uniform(*level) + rng.normal(0, 0.7 * spread, 3), 0.02, 1.0)


def _clouds(rng: np.random.Generator, side: int) -> Floats:
    """Noise of several sizes (side, side), 0 to 1."""
    total, weight = np.zeros((side, side), np.float32), 0.0
    for octave in range(_OCTAVES):
        cells, share = 3 * 2**octave, 0.6**octave
        cell = rng.random((cells, cells), np.float32)
        total += share * cv2.resize(cell, (side, side), interpolation=cv2.INTER_CUBIC)
        weight += share
    return np.clip(total / weight, 0, 1)


def _shade(rng: np.random.Generator, side: int) -> Floats:
    """Light that falls off from one side (side, side)."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
    across, down = rng.uniform(-0.8, 0.8, 2)
    return np.asarray(1 + across * x + down * y, np.float32)


_SCENES: tuple[Scene, ...] = (_room, _street, _leaves, _stage, _surface)
