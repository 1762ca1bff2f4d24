"""Faces land where the networks expect them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.pipeline.faces.alignment import (
    LEFT_EYE,
    MOUTH,
    RIGHT_EYE,
    average_similarity,
    clip_transforms,
    inverse,
    network_view,
    similarity,
    warp,
)
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.media.video import open_footage
from tests.pipeline.conftest import scene

TEMPLATE = np.array([LEFT_EYE, RIGHT_EYE, MOUTH])
IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def moved(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points after a transform (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def test_aligned_points_stay() -> None:
    assert np.allclose(similarity(TEMPLATE), IDENTITY)


@pytest.mark.parametrize(("scale", "roll"), [(0.1, 0), (1, 30), (8, -45), (3, 180)])
def test_similar_points_are_taken_to_the_template(scale: float, roll: float) -> None:
    angle = np.radians(roll)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE @ turn.T + (500, -30)
    assert np.allclose(moved(points, similarity(points)), TEMPLATE)


def test_least_squares_cannot_be_improved() -> None:
    points = TEMPLATE + [[4, 0], [-6, 3], [10, 5]]
    best = similarity(points)
    error = ((moved(points, best) - TEMPLATE) ** 2).sum()
    for change in np.random.default_rng(0).normal(0, 0.01, (200, 4)):
        a, b, x, y = change
        other = best + [[a, -b, 100 * x], [b, a, 100 * y]]
        assert ((moved(points, other) - TEMPLATE) ** 2).sum() >= error


def test_clip_keeps_the_mouth_and_its_average_face() -> None:
    rng = np.random.default_rng(1)
    points = 2 * TEMPLATE + 40 + rng.normal(0, 4, (60, 1, 2))
    points[20:25] = np.nan
    transforms = clip_transforms(points)
    shared = average_similarity(points)
    assert np.allclose(transforms[:, :, :2], shared[:, :2])
    assert np.allclose(moved(points[0], transforms[0])[2], MOUTH)
    ideal = np.array(MOUTH) - (points[:, 2] @ shared[:, :2].T + shared[:, 2])
    shifts = transforms[:, :, 2] - shared[:, 2]
    for k in (1, 2, 19, 40):
        assert np.allclose(shifts[k], 0.8 * ideal[k] + 0.2 * shifts[k - 1])
    assert np.allclose(shifts[20:25], shifts[19])
    assert np.allclose(shifts[25], 0.8 * ideal[25] + 0.2 * shifts[19])


def test_identity_warp_and_border() -> None:
    picture = np.random.default_rng(0).integers(1, 255, (224, 224, 3), np.uint8)
    assert np.array_equal(warp(picture, IDENTITY), picture)
    shifted = warp(picture, np.array([[1.0, 0, 30], [0, 1, -20]]))
    assert np.array_equal(shifted[:204, 30:], picture[20:, :194])
    assert not shifted[:, :30].any() and not shifted[204:].any()


def test_the_inverse_takes_back() -> None:
    matrix = np.array([[0.3, -1.7, 40.0], [2.1, 0.4, -9.0]])
    points = np.random.default_rng(4).uniform(-500, 500, (20, 2))
    np.testing.assert_allclose(moved(moved(points, matrix), inverse(matrix)), points, atol=1e-9)


def test_face_outside_the_picture_is_black() -> None:
    assert not warp(np.full((50, 50, 3), 9, np.uint8), np.array([[1.0, 0, 9000], [0, 1, 0]])).any()


@pytest.mark.parametrize("factor", [2, 5, 9.5])
def test_shrinking_neither_moves_nor_aliases(factor: float) -> None:
    side = round(224 * factor)
    middle = (np.arange(side) + 0.5) / factor
    smooth = 128 + 100 * np.sin(middle / 15)[:, None] * np.cos(middle / 20)[None, :]
    checks = 50 * (np.add.outer(np.arange(side), np.arange(side)) % 2) - 25
    picture = np.clip(np.repeat((smooth + checks)[..., None], 3, axis=2), 0, 255).astype(np.uint8)
    offset = (1 / factor - 1) / 2
    crop = warp(picture, np.array([[1 / factor, 0, offset], [0, 1 / factor, offset]]))
    small = np.arange(224) + 0.5
    expected = 128 + 100 * np.sin(small / 15)[:, None] * np.cos(small / 20)[None, :]
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(crop[..., 0].astype(float) - expected)[inner].mean() < 2


def test_crop_of_a_large_picture_is_that_of_its_part() -> None:
    picture = scene(3000, 2000)
    matrix = np.array([[0.8, 0.2, -1400], [-0.2, 0.8, -500]])
    part = picture[600:1700, 1000:2600]
    shift = matrix.copy()
    shift[:, 2] += matrix[:, :2] @ (1000, 600)
    assert np.array_equal(warp(picture, matrix), warp(part, shift))


def test_network_view_is_the_upper_middle_enlarged() -> None:
    crop = np.zeros((224, 224, 3), np.uint8)
    crop[:192, 16:208] = 200
    assert np.unique(network_view(crop)).tolist() == [200]
    crop[120, 112] = 255
    y, x = np.argwhere(network_view(crop)[..., 0] > 220).mean(axis=0)
    assert abs(y - (120.5 * 224 / 192 - 0.5)) < 0.6 and abs(x - (96.5 * 224 / 192 - 0.5)) < 0.6


def test_real_aligned_clips_stay_nearly_where_they_are(finder: FaceFinder, real_media: Path) -> None:
    footage = open_footage(real_media / "pose_00473.mp4")
    frames = footage.iter_frames(range(0, len(footage.times), 5))
    matrix = average_similarity(np.array([finder.find(picture)[0].points for _, picture in frames]))
    corners = np.array([[0, 0], [223, 0], [0, 223], [223, 223]])
    assert abs(np.hypot(matrix[0, 0], matrix[1, 0]) - 1) < 0.08
    assert np.abs(moved(corners, matrix) - corners).max() < 37
