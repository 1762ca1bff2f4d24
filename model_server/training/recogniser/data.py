"""Batches of augmented voices with their targets; each is a function of its random generator alone."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from model_server.corpus.shards import FPS, Corpus
from model_server.corpus.speech.clips import SAMPLE_RATE, SpeechClip, decoded_sound, read_speech_clip
from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.speech_recogniser.log_mel import (
    REFERENCE_RMS,
    STEPS_PER_SECOND,
    log_mel,
    step_count,
)
from model_server.networks.speech_recogniser.recogniser import BLANK
from model_server.training.recogniser.sound_augment import Augmented, augment, background, loudness

UNKNOWN = -100
# Clips of a batch are among so many neighbours by length, so that little of it is padding.
_NEIGHBOURS = 400
_WORDLESS_SHARE = 0.04  # of a batch's clips that hold no speech at all
_MASKED_BANDS, _MASKED_ROWS, _MASKS = 15, 24, 2
_QUIET = 0.45  # feature value of masks
# Batches are padded to a multiple of so many steps, and filled: what oneDNN keeps of ever new sizes would pile up.
_STRIDE = 64


@dataclass(frozen=True)
class Batch:
    """n sounds of at most t steps.

    Attributes:
        mel: (n, 2 t, 80).
        steps: (n,) steps of each.
        units: (n, u) CTC classes, padded with blanks.
        unit_counts: (n,) of them, -1 where the text is not known.
        frames: (n, t) class spoken in each step, -100 where unknown.
        energy, pitch: (n, t), NaN where unknown; pitch is NaN without voice, too.
        voiced: (n, t) 1 or 0, NaN where unknown.
    """

    mel: Tensor
    steps: Tensor
    units: Tensor
    unit_counts: Tensor
    frames: Tensor
    energy: Tensor
    pitch: Tensor
    voiced: Tensor

    @property
    def valid(self) -> Tensor:
        """(n, t) whether a step belongs to its sound."""
        return torch.arange(self.frames.shape[1])[None] < self.steps[:, None]

    @property
    def seconds(self) -> float:
        """Of all sounds together."""
        return float(self.steps.sum()) / STEPS_PER_SECOND


@dataclass(frozen=True, eq=False)
class Voice:
    """A clip whose sound is decoded: (n,) int16, and the clip without its FLAC file."""

    clip: SpeechClip
    sound: NDArray[np.int16]

    @property
    def samples(self) -> NDArray[np.float32]:
        """(n,) in [-1, 1]."""
        return self.sound.astype(np.float32) / 32768


class VoiceStore:
    """Voice clips of one split of several corpora.

    Args:
        folders: corpora.
        split: "train", "val" or "test".
        cached_hours: of sound kept decoded.

    Raises:
        PoseDubError: a corpus cannot be read, or the training split is empty.
    """

    def __init__(self, folders: Sequence[Path], split: str, cached_hours: float) -> None:
        corpora = [Corpus.open(folder) for folder in folders]
        listed = [(corpus, corpus.entry(name)) for corpus in corpora for name in corpus.names(split)]
        listed.sort(key=lambda item: (item[1].frames, item[1].name))
        self._clips = [(corpus, entry.name) for corpus, entry in listed]
        self.seconds = np.array([entry.frames / FPS for _, entry in listed])
        self._room = int(cached_hours * 3600 * SAMPLE_RATE)
        self._cache: OrderedDict[int, Voice] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()
        if not listed and split == "train":
            names = ", ".join(str(folder) for folder in folders)
            raise PoseDubError(f"There are no training clips in {names}; build the corpus first.", ErrorKind.NOT_FOUND)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Voice:
        with self._lock:
            if index not in self._cache:
                self._keep(index, self._read(index))
            self._cache.move_to_end(index)
            return self._cache[index]

    def _read(self, index: int) -> Voice:
        corpus, name = self._clips[index]
        clip = read_speech_clip(corpus, name)
        return Voice(clip, decoded_sound(clip.sound))

    def _keep(self, index: int, voice: Voice) -> None:
        self._cache[index] = voice
        self._cached += len(voice.sound)
        while self._cached > self._room and len(self._cache) > 1:
            self._cached -= len(self._cache.popitem(last=False)[1].sound)


def sample_batch(store: VoiceStore, seconds: float, strength: float, rng: np.random.Generator) -> Batch:
    """Clips of about one length, drawn by their length, changed, with their targets; so many seconds with padding."""
    centre = rng.choice(len(store), p=store.seconds / store.seconds.sum())
    first = max(0, min(centre - _NEIGHBOURS // 2, len(store) - _NEIGHBOURS))
    near = np.arange(first, min(first + _NEIGHBOURS, len(store)))
    examples: list[Example] = []
    for index in rng.permutation(near):
        found = _example(store, int(index), strength, rng)
        if examples and _padded_steps([*examples, found]) > seconds * STEPS_PER_SECOND:
            break
        examples.append(found)
    return joined(examples, rng if strength else None)


def _padded_steps(examples: Sequence[Example]) -> int:
    """Steps that a batch of these takes."""
    return len(examples) * _padded(max(len(e.frames) for e in examples))


def _padded(steps: int) -> int:
    return -(-steps // _STRIDE) * _STRIDE


@dataclass(frozen=True)
class Example:
    """One sound with its targets per step, as in `Batch`; `units` is None where the text is not known."""

    samples: NDArray[np.float32]
    units: NDArray[np.int64] | None
    frames: NDArray[np.int64]
    energy: NDArray[np.float32]
    pitch: NDArray[np.float32]
    voiced: NDArray[np.float32]


def _example(store: VoiceStore, index: int, strength: float, rng: np.random.Generator) -> Example:
    voice = store[index]
    if rng.random() < _WORDLESS_SHARE * strength:
        return _wordless(len(voice.sound), rng)

    def other(rng: np.random.Generator) -> NDArray[np.float32]:
        return store[int(rng.integers(len(store)))].samples

    return example(voice.clip, augment(voice.samples, rng, strength, other))


def _wordless(count: int, rng: np.random.Generator) -> Example:
    """Sound without speech."""
    samples = background(rng, count) * np.float32(REFERENCE_RMS * 10 ** (rng.uniform(-30, 0) / 20))
    steps = step_count(count)
    silent = np.zeros(steps, np.float32)
    classes, unknown = np.full(steps, BLANK), np.full(steps, np.nan, np.float32)
    return Example(np.clip(samples, -1, 1), np.zeros(0, np.int64), classes, silent, unknown, silent)


def example(clip: SpeechClip, changed: Augmented) -> Example:
    """Changed speech with what is known of it."""
    steps = step_count(len(changed.samples))
    moments = ((np.arange(steps) + 0.5) / STEPS_PER_SECOND - changed.lead) * changed.rate  # in the original
    places = np.floor(moments * STEPS_PER_SECOND).astype(int)
    inside = (places >= 0) & (places < len(clip.energy))
    row = np.clip(places, 0, len(clip.energy) - 1)
    pitch = np.where(inside, clip.pitch[row].astype(np.float32) + changed.octaves, np.nan).astype(np.float32)
    voiced = np.isfinite(pitch).astype(np.float32)
    energy = np.where(inside, clip.energy[row], 0).astype(np.float32)
    units = None if clip.units is None else clip.units.astype(np.int64) + 1
    return Example(changed.samples, units, _frames(clip, moments, inside, changed.babble), energy, pitch, voiced)


def _frames(
    clip: SpeechClip, moments: NDArray[np.float64], inside: NDArray[np.bool_], babble: bool
) -> NDArray[np.int64]:
    """Class of each moment: exact where times are known, silence around any speech unless others babble there."""
    if clip.unit_times is not None:
        return classes_at(clip.unit_times, moments)
    return np.where(inside | babble, UNKNOWN, BLANK)


def classes_at(unit_times: NDArray[np.float32], moments: NDArray[np.float64]) -> NDArray[np.int64]:
    """Class spoken at each moment (n,), seconds, by a clip's `unit_times`; silence where nothing is said."""
    row = np.searchsorted(unit_times[:, 1], moments, "right") - 1
    known = (row >= 0) & (moments < unit_times[-1, 2])
    return np.where(known, unit_times[np.maximum(row, 0), 0].astype(np.int64) + 1, BLANK)


def joined(examples: Sequence[Example], masks: np.random.Generator | None = None) -> Batch:
    """Sounds of different lengths as a batch, with bands and times hidden where `masks` are drawn."""
    steps = torch.tensor([len(e.frames) for e in examples])
    longest = _padded(int(steps.max()))
    sounds = np.zeros((len(examples), longest * SAMPLE_RATE // STEPS_PER_SECOND), np.float32)
    for row, e in zip(sounds, examples, strict=True):
        row[: len(e.samples)] = e.samples
    mel = log_mel(torch.from_numpy(sounds))
    if masks is not None:
        _hide(mel, steps, masks)

    def padded(name: str, value: float) -> Tensor:
        parts = [torch.from_numpy(getattr(e, name)) for e in examples]
        return torch.stack([F.pad(part, (0, longest - len(part)), value=value) for part in parts])

    nothing, nan = torch.zeros(0, dtype=torch.int64), float("nan")
    units = [nothing if e.units is None else torch.from_numpy(e.units) for e in examples]
    counts = torch.tensor([-1 if e.units is None else len(e.units) for e in examples])
    return Batch(
        mel, steps, pad_sequence(units, True, BLANK), counts, padded("frames", UNKNOWN), padded("energy", nan),
        padded("pitch", nan), padded("voiced", nan),
    )  # fmt: skip


def _hide(mel: Tensor, steps: Tensor, rng: np.random.Generator) -> None:
    """Overwrite bands and moments of each sound (SpecAugment, Park et al. 2019)."""
    for row, count in zip(mel, steps.tolist(), strict=True):
        for _ in range(_MASKS):
            width = int(rng.integers(0, _MASKED_BANDS + 1))
            low = int(rng.integers(0, row.shape[1] - width + 1))
            row[:, low : low + width] = _QUIET
        for _ in range(1 + count // 75):
            width = int(rng.integers(0, min(_MASKED_ROWS, count) + 1))
            first = int(rng.integers(0, 2 * count - width + 1))
            row[first : first + width] = _QUIET


def plain_example(clip: SpeechClip, samples: NDArray[np.float32]) -> Example:
    """Speech as it is, at the reference loudness."""
    level = REFERENCE_RMS / max(loudness(samples), 1e-6)
    return example(clip, Augmented(samples * np.float32(level)))
