"""Frame rates measured from the pictures' times: browsers' recordings, slide shows, telephones."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import pytest

from model_server.pipeline.media.containers import probe, read_timing
from model_server.pipeline.media.video import Video
from tests.pipeline.makers import browser_recording, counter_picture, read_counter, write_movie

COUNT = 50
Times = list[int]


def jittered(step: float, jitter: int, count: int = COUNT) -> Times:
    """Milliseconds of pictures taken by a clock that is off by up to `jitter` each time."""
    rng = random.Random(7)
    return [0, *(round(k * step) + rng.randint(-jitter, jitter) for k in range(1, count))]


def recorded(folder: Path, milliseconds: Times, codec: str = "libvpx") -> Path:
    """A browser's recording of counted pictures at these times."""
    pictures = map(counter_picture, range(len(milliseconds)))
    return browser_recording(folder / "recorded.webm", pictures, milliseconds, codec)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9", "libx264"])
@pytest.mark.parametrize("rate", [25, 30, 15, 60])
def test_browsers_recording(tmp_path: Path, rate: int, codec: str) -> None:
    times = jittered(1000 / rate, 250 // rate)
    path = recorded(tmp_path, times, codec)
    info, video = probe(path), Video(path)
    assert info.fps == rate
    assert abs(info.duration - video.duration) < Fraction(1, 1000)
    assert video.times == [Fraction(time, 1000) for time in times]
    last = Fraction(1, 25 if codec == "libx264" else rate)  # which says so in its own headers
    assert video.duration == Fraction(times[-1], 1000) + last


def test_each_frame_of_a_recording_without_index(tmp_path: Path) -> None:
    times = jittered(40, 10)
    video = Video(recorded(tmp_path, times))
    for k in (0, 9, 10, 11, 29, 30, 31, COUNT - 1):
        assert abs(read_counter(video.frame_at(Fraction(times[k], 1000))) - k) <= 1
    assert len(list(video.iter_frames(range(COUNT)))) == COUNT


def test_pauses_do_not_slow_the_rate(tmp_path: Path) -> None:
    steps = [33, 33, 34] * 16
    steps[20] += 5000
    steps[30] += 800
    info = probe(recorded(tmp_path, [0, *accumulate(steps)]))
    assert info.fps == 30
    assert abs(info.duration - (Fraction(sum(steps), 1000) + Fraction(1, 30))) < Fraction(1, 1000)


def test_pictures_in_the_same_millisecond(tmp_path: Path) -> None:
    times = sorted([*range(0, 40 * 47, 40), 400, 800, 1200])
    timing = read_timing(recorded(tmp_path, times))
    assert (timing.rate, len(timing.ticks), timing.counted) == (25, 47, False)
    assert timing.duration == 47 * Fraction(40, 1000)


@pytest.mark.parametrize("name", ["slides.webm", "slides.mp4", "slides.mkv"])
def test_slide_show(tmp_path: Path, name: str) -> None:
    times = [0, 5000, 10000, 15000, 21000]
    pictures = [counter_picture(k) for k in range(5)]
    path = (
        browser_recording(tmp_path / name, pictures, times)
        if name == "slides.webm"
        else write_movie(tmp_path / name, pictures, milliseconds=times, rate=Fraction(1000))
    )
    assert probe(path).fps == Fraction(4, 21)
    video = Video(path)
    assert video.duration >= 21 + Fraction(21, 4)
    shown = [read_counter(video.frame_at(Fraction(second))) for second in (0, 4, 5, 14, 20, 21, 25)]
    assert shown == [0, 0, 1, 2, 3, 4, 4]


def test_one_picture_without_a_rate(tmp_path: Path) -> None:
    assert probe(recorded(tmp_path, [0])).fps == 25


def test_telephone_that_leaves_pictures_out(tmp_path: Path) -> None:
    """The container's average is not the rate at which the telephone films."""
    rng = random.Random(5)
    steps = [rng.choice([33, 33, 33, 34, 34, 34, 67]) for _ in range(COUNT - 1)]
    times, pictures = [0, *accumulate(steps)], map(counter_picture, range(COUNT))
    assert probe(write_movie(tmp_path / "phone.mp4", pictures, milliseconds=times, rate=Fraction(1000))).fps == 30


@pytest.mark.parametrize(("stated", "meant"), [("1000000/33333", "30"), ("1000000/33367", "30000/1001")])
def test_frames_of_whole_microseconds(tmp_path: Path, stated: str, meant: str) -> None:
    pictures = map(counter_picture, range(COUNT))
    fps = probe(write_movie(tmp_path / "movie.avi", pictures, rate=Fraction(stated))).fps
    assert fps == Fraction(meant)


@pytest.mark.parametrize("name", ["movie.mp4", "movie.mkv", "movie.avi", "movie.ts", "movie.mov"])
@pytest.mark.parametrize("stated", ["24000/1001", "25", "60000/1001", "18", "47/2"])
def test_stated_rates_stay_exact(tmp_path: Path, name: str, stated: str) -> None:
    rate, pictures = Fraction(stated), map(counter_picture, range(COUNT))
    codec = "mpeg4" if name == "movie.avi" else "libx264"
    fps = probe(write_movie(tmp_path / name, pictures, codec, rate=rate)).fps
    assert fps is not None and abs(fps - rate) < rate / 10000
