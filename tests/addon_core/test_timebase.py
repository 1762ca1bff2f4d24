"""Frames, seconds and samples at every scene rate."""

from fractions import Fraction

import pytest

from blender_addon.core import timebase as tb

RATES = {
    (24, 1.0): Fraction(24),
    (24, 1.00100004673): Fraction(24000, 1001),
    (30, 1.001): Fraction(30000, 1001),
    (60, 1.001): Fraction(60000, 1001),
    (25, 1.0): Fraction(25),
    (5, 1.0): Fraction(5),
    (30, 2.0): Fraction(15),
    (25, 0.5): Fraction(50),
}


@pytest.mark.parametrize(("setting", "rate"), RATES.items())
def test_scene_rates_are_exact(setting, rate):
    assert tb.scene_fps(*setting) == rate


@pytest.mark.parametrize(
    ("reported", "rate"),
    [
        (29.97003, Fraction(30000, 1001)),
        (23.976024, Fraction(24000, 1001)),
        (25.0, Fraction(25)),
        (12.5, Fraction(25, 2)),
    ],
)
def test_movie_rates_are_exact(reported, rate):
    assert tb.media_fps(reported) == rate


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(Fraction(1, 2), 1), (Fraction(-1, 2), 0), (Fraction(-3, 2), -1), (Fraction(49, 100), 0), (7, 7)],
)
def test_halves_round_up(value, rounded):
    assert tb.round_half_up(value) == rounded


@pytest.mark.parametrize("rate", RATES.values())
def test_frame_boundaries_survive_seconds_and_samples(rate):
    for frame in [-7, 0, 1, 2, 999, 36_000, 107_892]:
        assert tb.seconds_to_frames(tb.frames_to_seconds(frame, rate), rate) == frame
        assert tb.samples_to_frames(tb.frames_to_samples(frame, rate, 48_000), rate, 48_000) == frame


def test_no_drift_in_ten_hours_at_ntsc():
    rate = Fraction(24000, 1001)
    frames = 10 * 3600 * 24
    exact = Fraction(frames * 1001, 24000)
    assert tb.frames_to_seconds(frames, rate) == exact
    assert abs(tb.frames_to_samples(frames, rate, 44_100) - exact * 44_100) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("seconds", "rate", "frames"),
    [
        (Fraction(10), Fraction(24000, 1001), 240),
        (Fraction(1), Fraction(25), 25),
        (Fraction(1, 100), Fraction(25), 1),
        (0, Fraction(25), 0),
    ],
)
def test_frames_cover_the_duration(seconds, rate, frames):
    assert tb.frames_covering(seconds, rate) == frames


@pytest.mark.parametrize(
    ("frame", "rate", "text"),
    [
        (0, Fraction(24), "00:00:00:00"),
        (23, Fraction(24), "00:00:00:23"),
        (86_400 + 24, Fraction(24), "01:00:01:00"),
        (30, Fraction(30000, 1001), "00:00:01:00"),
        (-25, Fraction(25), "-00:00:01:00"),
        (3, Fraction(1, 4), "00:00:03:00"),
    ],
)
def test_timecode(frame, rate, text):
    assert tb.timecode(frame, rate) == text
