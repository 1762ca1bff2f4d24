"""Mel features equal the published ones, and every window sits where its frame is heard."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import librosa
import numpy as np
import pytest

from model_server.corpus import shards
from model_server.corpus.shards import FPS, Clip
from model_server.corpus.sound import clip_mel
from model_server.features import MelWindows, filter_bank, window_start
from model_server.pipeline.speech.audio import SAMPLE_RATE, SpeechFile, decode_speech
from tests.pipeline.makers import write_sound

GOLDEN = Path(__file__).parents[1] / "fixtures" / "pcavs" / "golden_mel.npz"
RATES = [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(60)]

Speak = Callable[[np.ndarray], SpeechFile]


@pytest.fixture
def speak(tmp_path: Path) -> Speak:
    """Turns 16 kHz samples into a speech file as `decode_speech` leaves it."""

    def write(samples: np.ndarray) -> SpeechFile:
        path = tmp_path / "speech.f32"
        samples.astype(np.float32).tofile(path)
        rms = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
        return SpeechFile(path, len(samples), Fraction(len(samples), SAMPLE_RATE), rms, Fraction(0))

    return write


def noise(samples: int) -> np.ndarray:
    """White noise."""
    return 0.05 * np.random.default_rng(3).standard_normal(samples).astype(np.float32)


def test_published_features_through_a_file(tmp_path: Path) -> None:
    golden = np.load(GOLDEN)
    path = write_sound(tmp_path / "speech.wav", golden["wav"], SAMPLE_RATE, "pcm_f32le")
    speech = decode_speech(path, tmp_path / "speech.f32")
    mel = np.concatenate([np.zeros((8, 80)), golden["mel"], np.zeros((40, 80))])
    count = len(golden["mel"]) // 4 + 3
    windows = MelWindows(speech, Fraction(25)).windows(range(count))
    for k, window in enumerate(windows):
        assert np.abs(window - mel[4 * k : 4 * k + 20].T).max() < 1e-4
    assert windows.dtype == np.float32 and windows.shape == (count, 80, 20)


def test_window_start_is_the_published_one_at_25_fps() -> None:
    assert [window_start(k, Fraction(25)) for k in range(1000)] == [4 * k - 8 for k in range(1000)]


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_windows_never_drift(fps: Fraction) -> None:
    for k in range(int(600 * fps)):
        error = window_start(k, fps) - (100 * (k + Fraction(1, 2)) / fps - 10)
        assert -Fraction(1, 2) < error <= Fraction(1, 2)


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_click_in_the_middle_of_a_frame_is_always_in_the_same_bin(speak: Speak, fps: Fraction) -> None:
    frames = [
        *range(12, 200, 13),
        *range(int(300 * fps), int(302 * fps), 13),
        *range(int(598 * fps), int(600 * fps), 13),
    ]
    sound = np.zeros(600 * SAMPLE_RATE, np.float32)
    sound[[int((k + Fraction(1, 2)) / fps * SAMPLE_RATE) for k in frames]] = 0.5
    windows = MelWindows(speak(sound), fps).windows(frames)
    assert set(windows.sum(axis=1).argmax(axis=1)) == {13}


def test_a_frame_has_the_same_bits_in_every_batch(speak: Speak) -> None:
    speech = speak(noise(20 * SAMPLE_RATE))
    whole = MelWindows(speech, Fraction(30)).windows(range(600))
    for size in (1, 7, 64):
        parts = MelWindows(speech, Fraction(30))
        batches = [parts.windows(range(k, min(k + size, 600))) for k in range(0, 600, size)]
        assert np.array_equal(np.concatenate(batches), whole)
    scattered = [599, 3, 250, 3, 41]
    assert np.array_equal(MelWindows(speech, Fraction(30)).windows(scattered), whole[scattered])


def test_silence_outside_the_speech(speak: Speak) -> None:
    windows = MelWindows(speak(noise(SAMPLE_RATE)), Fraction(25))
    assert not windows.windows([-100, -4, 29, 30, 10**6]).any()
    assert windows.windows([0])[0, :, :8].max() == 0
    assert windows.windows([0])[0, :, 8:].min() > 0


def test_start_moves_windows_and_keeps_loudness(tmp_path: Path) -> None:
    sound = noise(4 * SAMPLE_RATE) * np.repeat([0.2, 1], 2 * SAMPLE_RATE).astype(np.float32)
    path = write_sound(tmp_path / "speech.wav", sound, SAMPLE_RATE, "pcm_f32le")
    whole = MelWindows(decode_speech(path, tmp_path / "whole"), Fraction(25))
    moved = MelWindows(decode_speech(path, tmp_path / "moved", Fraction(1)), Fraction(25))
    assert np.array_equal(moved.windows(range(5, 70)), whole.windows(range(30, 95)))


def test_very_soft_speech_is_not_blown_up(speak: Speak) -> None:
    soft = MelWindows(speak(noise(SAMPLE_RATE) * 1e-5), Fraction(25)).windows([10])
    loud = MelWindows(speak(noise(SAMPLE_RATE)), Fraction(25)).windows([10])
    assert soft.mean() < 0.7 * loud.mean()


def test_the_filter_bank_is_that_of_librosa() -> None:
    published = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=1280, n_mels=80, fmin=125, fmax=7600)
    assert np.array_equal(filter_bank(), published.astype(np.float64))


@pytest.mark.parametrize("seconds", [0.3, 2.0])
def test_training_hears_what_dubs_hear(speak: Speak, seconds: float) -> None:
    """A shard's windows are the dub's, to the precision that shards keep: both are placed and scaled in one place."""
    sound = noise(int(seconds * SAMPLE_RATE))
    speech, frames = speak(sound), int(seconds * FPS)
    clip = Clip("one", "somebody", "synthetic", (b"",) * frames, clip_mel(sound, frames, speech.rms))
    windows = MelWindows(speech, Fraction(FPS)).windows(range(frames))
    assert np.abs(shards.windows(clip, range(frames)) - windows).max() < 1e-3
    assert windows.max() > 0.3
