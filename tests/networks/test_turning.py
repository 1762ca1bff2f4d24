"""A turned surface: places move by what geometry says, and what is nearer hides what lies behind it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.head_rotation import rotation
from model_server.networks.pcavs.turning import TURNED_SIZE, TurningSurface

SIDE, REACH = 97, 0.6
Floats = NDArray[np.float32]
NOTHING = np.zeros((SIDE, SIDE), np.float32)
ALL = np.ones((SIDE, SIDE), np.float32)
MIDDLE = np.zeros(2, np.float32)


def grid() -> tuple[Floats, Floats]:
    """x and y of the grid's places."""
    side = np.linspace(-1 - REACH, 1 + REACH, SIDE, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    return x, y


def ball(radius: float = 0.8) -> Floats:
    """Depth of half a ball around the middle, which looks at the camera."""
    x, y = grid()
    return -np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0)).astype(np.float32)


def at(offsets: Floats, x: float, y: float) -> Floats:
    """The offset (2,) at a place of the turned picture."""
    column, row = (round((value + 1) * TURNED_SIZE / 2 - 0.5) for value in (x, y))
    return offsets[:, row, column]


def test_a_head_that_does_not_turn_stays() -> None:
    offsets = TurningSurface(ball(), ALL, MIDDLE, REACH).offsets(rotation(0, 0, 0))
    assert offsets.shape == (2, TURNED_SIZE, TURNED_SIZE) and offsets.dtype == np.float32
    assert np.abs(offsets).max() < 1e-5


@pytest.mark.parametrize(
    ("angles", "x", "y"), [((20, 0, 0), 1, 0), ((-20, 0, 0), -1, 0), ((0, 20, 0), 0, -1), ((0, -20, 0), 0, 1)]
)
def test_what_looks_at_the_camera_moves_where_the_head_turns(angles: tuple[int, int, int], x: int, y: int) -> None:
    """The nearest place of a ball lies 0.8 before the middle: turned by 20 degrees it lies aside by 0.8 sin 20."""
    offsets = TurningSurface(ball(), ALL, MIDDLE, REACH).offsets(rotation(*angles))
    aside = 0.8 * np.sin(np.radians(20))
    np.testing.assert_allclose(at(offsets, x * aside, y * aside), [-x * aside, -y * aside], atol=0.03)


def test_a_head_that_rolls_turns_the_picture_clockwise() -> None:
    offsets = TurningSurface(NOTHING, ALL, MIDDLE, REACH).offsets(rotation(0, 0, 90))
    np.testing.assert_allclose(at(offsets, 0.5, 0.0), [-0.5, -0.5], atol=0.02)  # what was on top is on the right


def test_what_is_nearer_hides_what_lies_behind() -> None:
    """A wall of two thirds of the picture, and a part of it that stands before it: turned, that covers the wall."""
    x, _ = grid()
    before = np.where(np.abs(x) < 0.1, np.float32(-0.6), np.float32(0))
    offsets = TurningSurface(before, ALL, MIDDLE, REACH).offsets(rotation(30, 0, 0))
    shown = at(offsets, 0.3, 0.0) + [0.3, 0.0]  # 0.6 sin 30: where the part stands now
    assert abs(shown[0]) < 0.12
    assert at(offsets, -0.6, 0.0)[0] + -0.6 == pytest.approx(-0.6 / np.cos(np.radians(30)), abs=0.05)


def test_what_does_not_follow_stays() -> None:
    x, _ = grid()
    follows = np.where(x < 0, np.float32(1), np.float32(0))
    offsets = TurningSurface(NOTHING, follows, MIDDLE, REACH).offsets(rotation(40, 0, 0))
    assert np.abs(offsets[:, :, TURNED_SIZE // 2 + 2 :]).max() < 1e-5
    assert np.abs(offsets[0, :, : TURNED_SIZE // 4]).min() > 0.1


def test_the_pivot_stays_in_its_place() -> None:
    pivot = np.array([0.1, 0.3], np.float32)
    offsets = TurningSurface(NOTHING, ALL, pivot, REACH).offsets(rotation(25, -15, 10))
    assert np.abs(at(offsets, 0.1, 0.3)).max() < 0.02
    assert np.abs(at(offsets, 0.1, -0.6)).max() > 0.05


def test_what_comes_from_beyond_the_picture_is_fetched_there() -> None:
    """Of a wall the left half comes nearer: x cos 40 / (1 + x sin 40 / 10) = -0.99, as the camera is 10 halves away."""
    offsets = TurningSurface(NOTHING, ALL, MIDDLE, REACH).offsets(rotation(40, 0, 0))
    assert at(offsets, -0.99, 0.0)[0] - 0.99 == pytest.approx(-1.193, abs=0.01)
