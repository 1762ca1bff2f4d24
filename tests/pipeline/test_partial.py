"""Parts of pictures are what converting the whole gives, bit for bit, and are what a face is followed in."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from model_server.pipeline.faces.tracking import track_face
from model_server.pipeline.media import sandboxed
from model_server.pipeline.media.appearance import Pictures
from model_server.pipeline.media.partial import PartialPicture, sampled
from model_server.pipeline.media.video import open_footage
from model_server.pipeline.request import FaceSelection

from .conftest import INPUTS

SEED = np.random.default_rng(3)
FRAMES = range(0, 40, 4)


def frame(width: int, height: int, pixels: str = "yuv420p", matrix: int = 1) -> av.VideoFrame:
    """Noise."""
    noise = SEED.integers(0, 256, (height, width, 3), np.uint8)
    made = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pixels)
    made.colorspace = matrix
    return made


@pytest.mark.parametrize("size", [(1920, 1080), (1918, 1078), (854, 480), (270, 400), (64, 34), (14, 12)])
@pytest.mark.parametrize(("pixels", "matrix"), [("yuv420p", 1), ("yuv420p", 5), ("yuvj420p", 1)])
def test_parts_are_cut_out_of_the_whole(size: tuple[int, int], pixels: str, matrix: int) -> None:
    pictures, decoded = Pictures(None, "h264", "player"), frame(*size, pixels, matrix)
    whole, partial = pictures.natural(decoded), pictures.partly(decoded)
    assert isinstance(partial, PartialPicture) and partial.shape == whole.shape
    for _ in range(8):
        top, left = (int(SEED.integers(0, side)) for side in whole.shape[:2])
        bottom, right = (int(SEED.integers(0, side + 20)) for side in whole.shape[:2])
        assert np.array_equal(partial[top:bottom, left:right], whole[top:bottom, left:right])
    for step in (1, 2, 3):
        assert np.array_equal(sampled(partial, step), sampled(whole, step))
    assert np.array_equal(np.asarray(partial), whole)


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv422p", "yuv420p10le", "rgb24", "gray"])
def test_pictures_stored_otherwise_are_whole(pixels: str) -> None:
    decoded = frame(64, 48, pixels)
    pictures = Pictures(None, "h264", "player")
    assert np.array_equal(pictures.partly(decoded), pictures.natural(decoded))


def test_odd_sides_are_whole() -> None:
    assert isinstance(Pictures(None, "h264", "player").partly(frame(63, 48)), np.ndarray)


@pytest.mark.parametrize("planes", [np.zeros((10, 8), np.uint8), np.zeros((9, 7), np.uint8), np.zeros((9, 8))])
def test_planes_that_are_none_are_refused(planes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no planes"):
        PartialPicture(planes, None, (None, None))


@pytest.mark.parametrize("opened", [open_footage, sandboxed.open_footage])
def test_a_face_is_followed_in_parts_as_in_the_whole(opened, finder, monkeypatch: pytest.MonkeyPatch) -> None:
    path: Path = INPUTS / "pose.mp4"
    footage = opened(path)
    partly = track_face(footage, FRAMES, FaceSelection(), lambda: finder)
    monkeypatch.setattr(type(footage), "iter_partly", type(footage).iter_frames)
    assert partly.shown.all()
    assert partly.pack() == track_face(footage, FRAMES, FaceSelection(), lambda: finder).pack()
