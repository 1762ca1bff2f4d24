"""Real voices for the speech-content encoder: windows of changed sound, what was heard in the clean one, and the
mouth that belongs to it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_server.corpus.shards import FPS
from model_server.corpus.sound import clip_mel
from model_server.corpus.speech.aligned_voices import timed_phonemes
from model_server.engines.speech_recogniser import SpeechRecogniser
from model_server.features import clip_windows
from model_server.networks.speech_recogniser.log_mel import REFERENCE_RMS, STEPS_PER_SECOND, step_count
from model_server.synthetic.pronunciation import UNITS
from model_server.synthetic.visemes import VISEMES, viseme_weights
from model_server.training.recogniser.data import Voice, VoiceStore, classes_at
from model_server.training.recogniser.sound_augment import SAMPLE_RATE, Augmented, augment, background, loudness

_PER_CLIP = 8
_WORDLESS_SHARE = 0.15  # of clips without any speech
_LEVEL_DB = 3.0  # spread of a whole source's loudness around that of one clip
_STEPS_PER_FRAME = STEPS_PER_SECOND // FPS


@dataclass(frozen=True)
class Lessons:
    """Corpora of voices, and the recogniser that tells what is said in them."""

    corpora: Sequence[Path]
    recogniser: SpeechRecogniser


@dataclass(frozen=True)
class VoiceWindows:
    """Single windows of voices.

    Attributes:
        windows: log-mel (n, 1, 80, 20) in [0, 1].
        phonemes: (n, 1 + units) what is said in the windows' middles, as far as the recogniser can tell; class 0 is
            silence.
        visemes: (n, 17) what the renderer's mouth does there, NaN where the phonemes' times are not known.
        wordless: (n,) bool: noise, music, breath or applause instead of speech.
    """

    windows: Tensor
    phonemes: Tensor
    visemes: Tensor
    wordless: Tensor


class TeachingVoices:
    """Corpora of voices, and the recogniser that teaches.

    Args:
        folders: corpora of voices.
        split: "train", "val" or "test".
        recogniser: listens once to each clip whose phonemes' times are not known, as it is.
        device: where batches are made.
        cached_hours: of sound kept decoded.

    Raises:
        PoseDubError: a corpus cannot be read, or there is no clip for training.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        split: str,
        recogniser: SpeechRecogniser,
        device: torch.device,
        cached_hours: float = 16.0,
    ) -> None:
        self._store = VoiceStore(folders, split, cached_hours)
        self._recogniser, self._device = recogniser, device
        self._heard: dict[int, NDArray[np.float16]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._store)

    def sample(self, count: int, strength: float, rng: np.random.Generator) -> VoiceWindows:
        """`count` windows, some from each clip, each clip changed in its own way."""
        parts = [self._windows(min(_PER_CLIP, count - k), strength, rng) for k in range(0, count, _PER_CLIP)]
        mels, taught, wordless = (np.concatenate(part) for part in zip(*parts, strict=True))
        phonemes, visemes = np.split(taught, [taught.shape[1] - len(VISEMES)], 1)
        tensors = (torch.from_numpy(part).to(self._device) for part in (mels[:, None], phonemes, visemes, wordless))
        return VoiceWindows(*tensors)

    def _windows(
        self, count: int, strength: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        index = int(rng.integers(len(self._store)))
        voice = self._store[index]
        silent = bool(rng.random() < _WORDLESS_SHARE)
        if silent:
            changed = Augmented(background(rng, len(voice.sound)) * np.float32(REFERENCE_RMS))
        else:
            changed = augment(voice.samples, rng, strength, self._other)
        frames = max(1, len(changed.samples) * FPS // SAMPLE_RATE)
        chosen = rng.integers(0, frames, count)
        nothing = np.tile(_nothing(1 + len(UNITS) + len(VISEMES)), (count, 1))
        taught = nothing if silent else self._taught(index, voice, changed, chosen)
        return _mel_windows(changed.samples, frames, chosen, rng, silent), taught, np.full(count, silent)

    def _taught(self, index: int, voice: Voice, changed: Augmented, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """What `_known` says at the middles of frames of the changed sound (n, 1 + units + 17)."""
        known = self._known(index, voice)
        moments = ((frames + 0.5) / FPS - changed.lead) * changed.rate
        # A frame's middle lies between two steps.
        first = np.floor(moments * STEPS_PER_SECOND - 0.5).astype(int)
        inside = (moments >= 0) & (moments < len(known) / STEPS_PER_SECOND)
        rows = np.clip(np.stack([first, first + 1]), 0, len(known) - 1)
        return np.where(inside[:, None], known[rows].astype(np.float32).mean(0), _nothing(known.shape[1]))

    def _known(self, index: int, voice: Voice) -> NDArray[np.float16]:
        """In each step of a clip what is said and what a mouth does that says so (t, 1 + units + 17).

        Where a text is known, the recogniser has found its phonemes' times when the corpus was built, which is surer,
        and costs nothing any more, than to listen again.
        """
        with self._lock:
            if index not in self._heard:
                said = self._said(voice)
                self._heard[index] = np.concatenate([said, _mouth(voice, len(said))], 1).astype(np.float16)
            return self._heard[index]

    def _said(self, voice: Voice) -> NDArray[np.float32]:
        times = voice.clip.unit_times
        if times is None:
            return np.exp(self._recogniser.hear(voice.samples).frames)
        moments = (np.arange(step_count(len(voice.sound))) + 0.5) / STEPS_PER_SECOND
        return np.eye(1 + len(UNITS), dtype=np.float32)[classes_at(times, moments)]

    def _other(self, rng: np.random.Generator) -> NDArray[np.float32]:
        return self._store[int(rng.integers(len(self._store)))].samples


def _mouth(voice: Voice, steps: int) -> NDArray[np.float32]:
    """Visemes (steps, 17) of the renderer's mouth; NaN where the phonemes' times are not known."""
    if voice.clip.unit_times is None:
        return np.full((steps, len(VISEMES)), np.nan, np.float32)
    return np.asarray(viseme_weights(timed_phonemes(voice.clip), steps, STEPS_PER_SECOND), np.float32)


def _nothing(size: int) -> NDArray[np.float32]:
    """Where nothing is said: the first phoneme class and the first viseme."""
    row = np.zeros(size, np.float32)
    row[[0, size - len(VISEMES)]] = 1
    return row


def _mel_windows(
    samples: NDArray[np.float32], frames: int, chosen: NDArray[np.int64], rng: np.random.Generator, silent: bool
) -> NDArray[np.float32]:
    """Windows (n, 80, 20) of frames; the loudness is that of a source of which this is a part."""
    level = loudness(samples) * 10 ** (rng.normal(0, _LEVEL_DB) / 20)
    if silent:  # what lies between speech is mostly softer than it
        level *= 10 ** (rng.uniform(0, 35) / 20)
    return clip_windows(clip_mel(samples, frames, level), chosen.tolist(), Fraction(FPS))
