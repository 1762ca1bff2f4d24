"""Speech from any container: exact lengths, clicks where they were, one pass in constant memory."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soxr

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.speech.audio import SAMPLE_RATE, decode_speech, speech_duration
from tests.pipeline.makers import click_track, counter_picture, write_movie, write_sound

CLICKS = (0.25, 0.5, 1.0, 1.75)
# What encoders add in front is stated by these containers, and exact lengths by all but AAC in Matroska.
TIMED = [
    ("speech.wav", "pcm_s16le", 44100),
    ("speech.aiff", "pcm_s16be", 48000),
    ("speech.au", "pcm_s16be", 44100),
    ("speech.wv", "wavpack", 44100),
    ("speech.flac", "flac", 96000),
    ("speech.mp3", "libmp3lame", 44100),
    ("speech.m4a", "aac", 44100),
    ("speech.mov", "pcm_s24le", 48000),
    ("speech.opus", "libopus", 48000),
    ("speech.webm", "libopus", 48000),
    ("speech.mkv", "aac", 22050),
]


def noise(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """White noise at -20 dB."""
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate)).astype(np.float32)


def decoded(path: Path, start: Fraction = Fraction(0)) -> np.ndarray:
    """Samples of a file, checked against their own description."""
    speech = decode_speech(path, path.with_suffix(".f32"), start)
    samples = np.fromfile(speech.path, np.float32)
    assert len(samples) == speech.samples
    return samples


@pytest.mark.parametrize(("name", "codec", "rate"), TIMED)
def test_clicks_stay_where_they_were(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path = write_sound(tmp_path / name, click_track(2, CLICKS, rate), rate, codec)
    samples = np.abs(decoded(path))
    for click in CLICKS:
        around = round((click - 0.1) * SAMPLE_RATE)
        heard = (around + samples[around : around + 3200].argmax()) / SAMPLE_RATE
        assert abs(heard - (click + 0.0005)) < 0.001


@pytest.mark.parametrize(("name", "codec", "rate"), TIMED[:-1])
def test_duration_is_the_source_s_own(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path = write_sound(tmp_path / name, click_track(2, CLICKS, rate), rate, codec)
    assert speech_duration(path) == 2
    assert decode_speech(path, tmp_path / "out").duration == 2


def test_duration_is_exact_at_odd_lengths(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "odd.wav", noise(1, 44100)[:12345], 44100)
    assert speech_duration(path) == Fraction(12345, 44100)


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_channels_are_averaged(tmp_path: Path, layout: str) -> None:
    sound = noise(0.5, SAMPLE_RATE)
    samples = decoded(write_sound(tmp_path / "speech.wav", sound, SAMPLE_RATE, "pcm_f32le", layout))
    assert np.abs(samples - sound).max() < 1e-6


@pytest.mark.parametrize(
    ("codec", "step"), [("pcm_u8", 1 / 128), ("pcm_s16le", 2**-15), ("pcm_s32le", 1e-7), ("pcm_f64le", 1e-7)]
)
def test_sample_formats(tmp_path: Path, codec: str, step: float) -> None:
    sound = noise(0.5, SAMPLE_RATE)
    samples = decoded(write_sound(tmp_path / "speech.wav", sound, SAMPLE_RATE, codec))
    assert np.abs(samples - sound).max() <= step


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 96000])
def test_streamed_resampling_is_soxr_s_at_once(tmp_path: Path, rate: int) -> None:
    sound = noise(1.37, rate)
    samples = decoded(write_sound(tmp_path / "speech.wav", sound, rate, "pcm_f32le", "mono"))
    at_once = soxr.resample(sound, rate, SAMPLE_RATE, quality="HQ")
    assert len(samples) == len(at_once)
    assert np.abs(samples - at_once).max() < 1e-6


def test_rms_is_of_the_whole_source(tmp_path: Path) -> None:
    loud_then_soft = noise(2, SAMPLE_RATE) * np.repeat([1, 0.1], SAMPLE_RATE).astype(np.float32)
    path = write_sound(tmp_path / "speech.wav", loud_then_soft, SAMPLE_RATE, "pcm_f32le")
    expected = float(np.sqrt(np.mean(loud_then_soft.astype(np.float64) ** 2)))
    for start in (Fraction(0), Fraction(3, 2), Fraction(-1)):
        speech = decode_speech(path, tmp_path / "out", start)
        assert speech.rms == pytest.approx(expected, rel=1e-6)
        assert speech.duration == 2


@pytest.mark.parametrize("start", [Fraction(1, 3), Fraction(-1, 3), Fraction(5), Fraction(-5)])
def test_start_moves_the_speech_by_whole_samples(tmp_path: Path, start: Fraction) -> None:
    sound = noise(6, SAMPLE_RATE)
    path = write_sound(tmp_path / "speech.wav", sound, SAMPLE_RATE, "pcm_f32le")
    shift = round(start * SAMPLE_RATE)
    expected = sound[shift:] if shift > 0 else np.concatenate([np.zeros(-shift, np.float32), sound])
    assert np.array_equal(decoded(path, start), expected)


def test_start_behind_the_end(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "speech.wav", noise(1, SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(PoseDubError, match=r"speech.wav lasts 1.000 s.* at 2.000 s"):
        decode_speech(path, tmp_path / "out", Fraction(2))


def test_absurd_sample_rate(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "slow.wav", noise(1, SAMPLE_RATE), SAMPLE_RATE)
    data = bytearray(path.read_bytes())
    data[24:28] = (20).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(PoseDubError, match="slow.wav has 20 samples per second"):
        speech_duration(path)


def test_no_samples(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "nothing.wav", np.zeros(0, np.float32), SAMPLE_RATE)
    for call in (speech_duration, lambda p: decode_speech(p, tmp_path / "out")):
        with pytest.raises(PoseDubError, match="nothing.wav has no samples"):
            call(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["nothing.wav"]


def test_not_finite_samples_become_silence_or_full_scale(tmp_path: Path) -> None:
    sound = noise(1, SAMPLE_RATE)
    sound[[10, 20, 30]] = np.nan, np.inf, -np.inf
    path = write_sound(tmp_path / "broken.wav", sound, SAMPLE_RATE, "pcm_f32le", "mono")
    assert decoded(path)[[10, 20, 30]].tolist() == [0, 1, -1]


def test_cancelled_leaves_nothing(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "speech.wav", noise(1, SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(PoseDubError) as caught:
        decode_speech(path, tmp_path / "out", cancelled=lambda: True)
    assert caught.value.kind is ErrorKind.CANCELLED
    assert sorted(file.name for file in tmp_path.iterdir()) == ["speech.wav"]


def test_damaged_packets_do_not_move_what_follows(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "speech.m4a", click_track(4, [3.5], 44100) + noise(4, 44100) / 50, 44100, "aac")
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4000
    data[begin : begin + 3000] = bytes(np.random.default_rng(1).integers(0, 255, 3000, np.uint8))
    path.write_bytes(data)
    samples = decoded(path)
    heard = (3 * SAMPLE_RATE + np.abs(samples[3 * SAMPLE_RATE :]).argmax()) / SAMPLE_RATE
    assert abs(heard - 3.5005) < 0.001


def test_movie_without_sound_track(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "mute.mp4", [counter_picture(0)])
    with pytest.raises(PoseDubError, match="no sound track"):
        decode_speech(path, tmp_path / "out")
