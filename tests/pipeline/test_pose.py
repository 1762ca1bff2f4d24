"""Pose codes belong to the frame on screen, whatever the clip's rate, length and faces."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.pose import read_pose, source_frames
from model_server.pipeline.faces.pose_reading import PoseReader
from model_server.pipeline.request import FaceSelection
from tests.pipeline.conftest import INPUTS, paste, scene
from tests.pipeline.makers import counter_picture, write_movie

ALIGNED = FaceSelection("aligned")
AUTO = FaceSelection()
Views = NDArray[np.uint8]


def brightness(views: Views) -> NDArray[np.float32]:
    """A pose encoder for tests: the counter of a counter picture, or the mean of any other, in all 12 places."""
    values = (views.reshape(len(views), -1).mean(axis=1) - 8) / 4
    return np.repeat(values[:, None], 12, axis=1).astype(np.float32)


def unused() -> FaceFinder:
    """Stands for a finder that must not be made."""
    raise AssertionError("aligned crops need no face finder")


def seconds(count: int, fps: Fraction, start: Fraction = Fraction(0)) -> list[Fraction]:
    """Times of a dub's frames."""
    return [start + k / fps for k in range(count)]


def test_source_frames_go_back_and_forth() -> None:
    fps = Fraction(30000, 1001)
    times = seconds(4, fps)
    duration = 4 / fps
    assert source_frames(seconds(14, fps), times, duration) == [0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2, 3, 3, 2]
    assert source_frames(seconds(6, fps, -3 / fps), times, duration) == [2, 1, 0, 0, 1, 2]
    assert source_frames(seconds(9, -fps, duration), times, duration) == [3, 3, 2, 1, 0, 0, 1, 2, 3]


def test_source_frames_follow_variable_times() -> None:
    shown = [Fraction(0), Fraction(1, 10), Fraction(1)]
    duration = Fraction(2)
    asked = [Fraction(n, 20) for n in (0, 1, 2, 19, 20, 39, 40, 41, 60, 61, 78, 79, 80)]
    assert source_frames(asked, shown, duration) == [0, 0, 1, 1, 2, 2, 2, 2, 1, 1, 0, 0, 0]


def test_one_frame_serves_all_times() -> None:
    assert source_frames([Fraction(-3), Fraction(0), Fraction(7)], [Fraction(0)], Fraction(0)) == [0, 0, 0]
    assert source_frames([Fraction(-3), Fraction(0), Fraction(7)], [Fraction(0)], Fraction(1, 25)) == [0, 0, 0]


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25), Fraction(60)], ids=str)
def test_codes_are_those_of_the_frames_on_screen(tmp_path: Path, fps: Fraction) -> None:
    path = write_movie(tmp_path / "pose.mp4", [counter_picture(k, 224, 224) for k in range(50)])
    times = seconds(200, fps, Fraction(1, 3))
    track = read_pose(path, ALIGNED, times, PoseReader(brightness, 7), unused)
    expected = source_frames(times, [Fraction(k, 25) for k in range(50)], Fraction(2))
    assert track.codes.shape == (200, 12) and track.codes.dtype == np.float32
    assert np.abs(track.codes[:, 0] - expected).max() < 0.5
    assert track.without_face == ()
    assert track.loops_from == next((k for k, time in enumerate(times) if time >= 2), None)


def test_times_in_any_order(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "pose.mp4", [counter_picture(k, 224, 224) for k in range(50)])
    times = [Fraction(k, 25) for k in (40, 3, 3, 17, 0)]
    track = read_pose(path, ALIGNED, times, PoseReader(brightness), unused)
    assert np.rint(track.codes[:, 0]).tolist() == [40, 3, 3, 17, 0]
    assert track.loops_from is None


def test_each_source_frame_is_encoded_once(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "pose.mp4", [counter_picture(k, 224, 224) for k in range(10)])
    sizes: list[int] = []
    steps: list[tuple[int, int]] = []

    def encode(views: Views) -> NDArray[np.float32]:
        sizes.append(len(views))
        return brightness(views)

    read_pose(
        path,
        ALIGNED,
        seconds(500, Fraction(60)),
        PoseReader(encode, 4),
        unused,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert sizes == [4, 4, 2]
    assert steps == [(k, 10) for k in range(1, 11)]


def test_still_picture_never_loops(tmp_path: Path) -> None:
    path = tmp_path / "pose.png"
    Image.fromarray(counter_picture(9, 224, 224)).save(path)
    track = read_pose(path, ALIGNED, seconds(30, Fraction(25)), PoseReader(brightness), unused)
    assert np.rint(track.codes).tolist() == [[9.0] * 12] * 30
    assert track.loops_from is None


def gapped_movie(folder: Path, head: NDArray[np.uint8]) -> Path:
    """20 frames of a head that darkens step by step, with no head in frames 0, 1, 8, 9, 10 and 19."""
    pictures = []
    for k in range(20):
        picture = scene(480, 360)
        if k not in (0, 1, 8, 9, 10, 19):
            paste(picture, (head * (1 - 0.03 * k)).astype(np.uint8), (200 + 3 * k, 180), 0.6)
        pictures.append(picture)
    return write_movie(folder / "gaps.mp4", pictures, options={"crf": "10"})


def test_frames_without_a_face_hold_a_neighbour(finder: FaceFinder, head: NDArray[np.uint8], tmp_path: Path) -> None:
    path = gapped_movie(tmp_path, head)
    times = seconds(40, Fraction(25))
    codes = read_pose(path, AUTO, times, PoseReader(brightness), lambda: finder)
    assert codes.without_face == ((0, 2), (8, 11), (19, 21), (29, 32), (38, 40))
    values = codes.codes[:, 0]
    assert (values[:2] == values[2]).all() and (values[8:11] == values[7]).all() and (values[19:21] == values[18]).all()
    assert (np.diff(values[2:8]) < 0).all() and (np.diff(values[11:19]) < 0).all()
    assert np.array_equal(values[20:], values[:20][::-1])
    assert codes.loops_from == 20


def test_no_face_anywhere(finder: FaceFinder, tmp_path: Path) -> None:
    path = write_movie(tmp_path / "meadow.mp4", [scene(320, 240)] * 5)
    with pytest.raises(PoseDubError, match="No face was found in meadow.mp4; choose"):
        read_pose(path, AUTO, seconds(5, Fraction(25)), PoseReader(brightness), lambda: finder)


def test_chosen_face_is_followed(finder: FaceFinder, head: NDArray[np.uint8], tmp_path: Path) -> None:
    pictures = []
    for k in range(8):
        picture = scene(640, 360)
        paste(picture, head // 3, (150 + 12 * k, 200), 0.35)
        paste(picture, head, (480 - 10 * k, 180), 0.5)
        pictures.append(picture)
    path = write_movie(tmp_path / "two.mp4", pictures)
    times = seconds(8, Fraction(25))
    small_dark = read_pose(path, FaceSelection(at=(0.2, 0.5)), times, PoseReader(brightness), lambda: finder)
    large_bright = read_pose(path, AUTO, times, PoseReader(brightness), lambda: finder)
    assert small_dark.codes.max() < 0.7 * large_bright.codes.min()


def test_turning_synthetic_head_is_seen_in_every_frame(finder: FaceFinder) -> None:
    views: list[Views] = []

    def encode(batch: Views) -> NDArray[np.float32]:
        views.extend(batch)
        return brightness(batch)

    track = read_pose(INPUTS / "pose.mp4", AUTO, seconds(30, Fraction(5)), PoseReader(encode), lambda: finder)
    assert track.without_face == ()
    expected = (np.array([112.5 - 16, 120.5]) * 224 / 192) - 0.5
    mouths = [finder.find(view)[0].mouth for view in views]
    assert np.abs(np.array(mouths) - expected).max() < 30
    assert np.abs(np.array(mouths) - expected).mean() < 10


def test_cancelled(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "pose.mp4", [counter_picture(k, 224, 224) for k in range(10)])
    with pytest.raises(PoseDubError) as caught:
        read_pose(path, ALIGNED, seconds(10, Fraction(25)), PoseReader(brightness), unused, cancelled=lambda: True)
    assert caught.value.kind is ErrorKind.CANCELLED
