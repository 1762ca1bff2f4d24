"""Cameras, codecs and places: the same from the same seed, of the size asked for, and different from clip to clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model_server.synthetic.backgrounds import background
from model_server.synthetic.camera_look import CameraLook, random_camera

PLAIN = CameraLook(np.ones(3), 1.0, 0.0, 1.0, 0.0, (0.0, 0.0), 0.0, 0.0, 0.0, 0, 0, 1)


def pictures(count: int = 5) -> list[np.ndarray]:
    y, x = np.mgrid[:64, :64]
    return [np.stack([x * 3 + 4 * k, y * 3, (x + y) % 16 * 15], 2).clip(0, 255).astype(np.uint8) for k in range(count)]


def test_a_plain_camera_changes_nothing() -> None:
    for before, after in zip(pictures(), PLAIN.of(pictures()), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "change", [{"h264": 30}, {"jpeg": 40}, {"blur": 1.2}, {"reduction": 0.5}, {"motion": (3.0, 1.0)}]
)
def test_what_takes_detail_keeps_the_picture(change: dict) -> None:
    made = replace(PLAIN, **change).of(pictures())
    assert len(made) == 5
    for before, after in zip(pictures(), made, strict=True):
        assert after.shape == before.shape and after.dtype == np.uint8
        difference = np.abs(after.astype(int) - before).mean()
        assert 0.3 < difference < 30


def test_a_movie_keeps_its_frames_in_order() -> None:
    made = replace(PLAIN, h264=20).of(pictures(9))
    levels = [picture[..., 0].mean() for picture in made]
    assert levels == sorted(levels) and levels[-1] - levels[0] > 20


def test_one_seed_is_one_camera() -> None:
    cameras = [random_camera(np.random.default_rng(n)) for n in range(40)]
    for seed in (0, 1, 2):
        first, second = (random_camera(np.random.default_rng(seed)).of(pictures(3)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
    assert 0.4 < np.mean([camera.h264 > 0 for camera in cameras]) < 0.8
    assert any(camera.jpeg for camera in cameras) and any(camera.blur for camera in cameras)


def test_places_differ_and_are_light() -> None:
    places = [background(np.random.default_rng(n), (40, 60)) for n in range(12)]
    assert all(place.shape == (40, 60, 3) and place.min() > 0 and np.isfinite(place).all() for place in places)
    np.testing.assert_array_equal(places[3], background(np.random.default_rng(3), (40, 60)))
    means = np.stack([place.mean((0, 1)) for place in places])
    assert means.std(0).min() > 0.02
