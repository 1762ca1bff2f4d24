"""Movies by presentation time: every container, reordered and variable frames, rotation, damage."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media.video import Video, open_footage, picture_at
from tests.pipeline.makers import counter_picture, read_counter, write_movie

COUNT = 50
REORDERED = {"bf": "2", "g": "12", "b": "4000000"}
CONTAINERS = [
    ("movie.mp4", "libx264", REORDERED),
    ("movie.mov", "mpeg4", REORDERED),
    ("movie.mkv", "libx264", REORDERED | {"x264-params": "open-gop=1:b-pyramid=2", "sc_threshold": "0"}),
    ("movie.webm", "libvpx-vp9", {"g": "12"}),
    ("movie.avi", "mpeg4", REORDERED),
    ("reordered.avi", "libx264", REORDERED),
    ("movie.ts", "libx264", REORDERED),
    ("movie.mxf", "mpeg2video", REORDERED),
    ("movie.mpg", "mpeg2video", REORDERED),
]


def counters(count: int = COUNT) -> list[np.ndarray]:
    """Pictures that tell their number."""
    return [counter_picture(k) for k in range(count)]


@pytest.fixture(scope="module", params=CONTAINERS, ids=lambda one: f"{one[0]} {one[1]}")
def movie(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Video:
    """The counter movie in each container."""
    name, codec, options = request.param
    return Video(write_movie(tmp_path_factory.mktemp("movie") / name, counters(), codec, options=options))


@pytest.mark.parametrize("name", ["moving.webp", "moving.png", "moving.gif"])
def test_animated_pictures_are_read_or_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    first, *others = (Image.fromarray(picture) for picture in counters(3))
    first.save(path, save_all=True, append_images=others, duration=40)
    assert read_counter(picture_at(path, Fraction(0))) == 0  # as portrait
    if name.endswith("gif"):
        assert len(open_footage(path).times) == 3
        return
    with pytest.raises(PoseDubError, match=f"{name} is animated, which can be read of GIFs alone; export it as a mov"):
        open_footage(path)
    assert len(open_footage(path, "blender").times) == 1
    first.save(path)
    assert len(open_footage(path).times) == 1


def test_times_and_duration(movie: Video) -> None:
    assert [round(time * 1000) for time in movie.times] == [40 * k for k in range(COUNT)]
    assert abs(movie.duration - 2) < Fraction(1, 1000)


def test_all_frames_in_order(movie: Video) -> None:
    assert [(k, read_counter(picture)) for k, picture in movie.iter_frames(range(COUNT))] == [
        (k, k) for k in range(COUNT)
    ]


def test_each_frame_alone(movie: Video) -> None:
    for k in range(COUNT):
        assert read_counter(movie.frame_at(movie.times[k])) == k
        assert read_counter(movie.frame_at(movie.times[k] + Fraction(1, 30))) == k


def test_some_frames(movie: Video) -> None:
    wanted = [3, 4, 17, 30, 31, 49]
    assert [(k, read_counter(picture)) for k, picture in movie.iter_frames(wanted)] == [(k, k) for k in wanted]
    assert list(movie.iter_frames([])) == []


def test_times_outside(movie: Video) -> None:
    assert read_counter(movie.frame_at(Fraction(-5))) == 0
    assert read_counter(movie.frame_at(Fraction(500))) == COUNT - 1


def test_variable_frame_rate(tmp_path: Path) -> None:
    milliseconds = [40 * k + 200 * (k > 10) + 7 * (k % 3) for k in range(COUNT)]
    path = write_movie(tmp_path / "phone.mkv", counters(), options=REORDERED, milliseconds=milliseconds)
    video = Video(path)
    assert [round(time * 1000) for time in video.times] == milliseconds
    assert read_counter(video.frame_at(Fraction(500, 1000))) == 10
    assert read_counter(video.frame_at(Fraction(milliseconds[11], 1000))) == 11


def test_fractional_frame_rate_has_exact_times(tmp_path: Path) -> None:
    video = Video(write_movie(tmp_path / "film.mp4", counters(), rate=Fraction(24000, 1001)))
    assert video.times == [k * Fraction(1001, 24000) for k in range(COUNT)]
    assert video.duration == COUNT * Fraction(1001, 24000)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_as_other_players_show_it(tmp_path: Path, rotation: int) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    path = write_movie(tmp_path / "phone.mp4", [picture] * 3, rotation=rotation)
    ours = picture_at(path, Fraction(0)).astype(int)
    player = cv2.VideoCapture(str(path))
    player.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    theirs = player.read()[1][..., ::-1].astype(int)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < 12


def test_damaged_stretch_holds_the_picture_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    pictures = [rng.integers(0, 255, (48, 64, 3), np.uint8) // 8 + counter_picture(k) for k in range(COUNT)]
    path = write_movie(tmp_path / "movie.mp4", pictures, options={"g": "10", "bf": "0", "crf": "20"})
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"mdat") + 8, data.index(b"moov")
    middle = begin + (end - begin) * 45 // 100
    data[middle : middle + (end - begin) // 10] = bytes((end - begin) // 10)
    path.write_bytes(data)
    shown = [read_counter(picture) for _, picture in Video(path).iter_frames(range(COUNT))]
    truth = [read_counter(picture) for picture in pictures]
    assert len(shown) == COUNT
    same = [abs(one - other) <= 1 for one, other in zip(shown, truth, strict=True)]
    assert all(same[:20]) and all(same[40:]) and not all(same[20:40])


def test_nothing_decodable(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "movie.mp4", counters())
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"mdat") + 8, data.index(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    with pytest.raises(PoseDubError, match="movie.mp4") as caught:
        list(Video(path).iter_frames(range(COUNT)))
    assert caught.value.kind is ErrorKind.CORRUPT


def test_cancelled(tmp_path: Path) -> None:
    video = Video(write_movie(tmp_path / "movie.mp4", counters()))
    with pytest.raises(PoseDubError) as caught:
        list(video.iter_frames(range(COUNT), cancelled=lambda: True))
    assert caught.value.kind is ErrorKind.CANCELLED


def test_still_is_a_movie_of_one_frame(tmp_path: Path) -> None:
    picture = counter_picture(7)
    path = tmp_path / "still.mp4"
    Image.fromarray(picture).save(path, "PNG")
    still = open_footage(path)
    assert (still.times, still.duration) == ([0], 0)
    assert np.array_equal(picture_at(path, Fraction(99)), picture)
    assert [k for k, _ in still.iter_frames([0])] == [0]
