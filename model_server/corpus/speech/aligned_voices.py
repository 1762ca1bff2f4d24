"""Recordings with the times of their phonemes as speech for the renderer, in place of eSpeak NG's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from model_server.corpus.shards import Corpus, Entry
from model_server.corpus.speech.clips import SAMPLE_RATE, SpeechClip, decoded_samples, read_speech_clip
from model_server.errors import ErrorKind, PoseDubError
from model_server.synthetic.pronunciation import UNITS
from model_server.synthetic.speech import Phoneme, Speech, joined, silence

_NOT_RECORDED = "espeak"
_PAUSE = (0.15, 0.6)  # seconds between two recordings


class AlignedVoices:
    """The recordings of a corpus of voices that have times, of its training split.

    Raises:
        PoseDubError: no corpus, or no recording with times.
    """

    def __init__(self, folder: Path) -> None:
        self._corpus = Corpus.open(folder)
        timed = _timed(self._corpus)
        self._of: dict[str, list[str]] = {}
        for name in self._corpus.names("train"):
            entry = self._corpus.entry(name)
            if name in timed and entry.source != _NOT_RECORDED:
                self._of.setdefault(entry.identity, []).append(name)
        self._names = [name for names in self._of.values() for name in names]
        if not self._names:
            raise PoseDubError(
                f"The corpus {folder} has no recordings whose phonemes' times are known; build it with posedub corpus "
                "speech --recogniser FILE."
            )

    def speech(self, rng: np.random.Generator, seconds: float) -> Speech:
        """What one speaker says in at least so many seconds, recording after recording, 16 kHz."""
        utterances = self.utterances(rng)
        parts = [next(utterances)]
        while sum(part.duration for part in parts) < seconds:
            parts += [silence(rng.uniform(*_PAUSE), SAMPLE_RATE), next(utterances)]
        return joined(parts)

    def utterances(self, rng: np.random.Generator) -> Iterator[Speech]:
        """Recordings of one speaker, 16 kHz, without end."""
        first = self._corpus.entry(self._names[rng.integers(len(self._names))])
        yield self._spoken(first)
        others = self._of[first.identity]
        while True:
            yield self._spoken(self._corpus.entry(others[rng.integers(len(others))]))

    def _spoken(self, entry: Entry) -> Speech:
        clip = read_speech_clip(self._corpus, entry.name)
        samples = decoded_samples(clip.sound)
        return Speech(samples, SAMPLE_RATE, timed_phonemes(clip))


@lru_cache(maxsize=1)
def aligned_voices(folder: Path) -> AlignedVoices:
    """`AlignedVoices` of a folder, opened once in a process."""
    return AlignedVoices(folder)


def timed_phonemes(clip: SpeechClip) -> tuple[Phoneme, ...]:
    """A clip's units, each as a phoneme of its own, and its pauses."""
    assert clip.unit_times is not None
    rows: NDArray[np.float32] = clip.unit_times
    return tuple(Phoneme(UNITS[int(u)] if u >= 0 else "", float(a), float(b)) for u, a, b in rows)


def _timed(corpus: Corpus) -> set[str]:
    """Names of the clips whose shards hold times."""
    found: set[str] = set()
    for shard in sorted({entry.shard for entry in corpus.entries}):
        try:
            with safe_open(corpus.folder / shard, "numpy") as file:
                keys = file.keys()
        except (OSError, SafetensorError) as error:
            sentence = f"The shard {corpus.folder / shard} cannot be read ({error}); build the corpus again."
            raise PoseDubError(sentence, ErrorKind.CORRUPT) from error
        found |= {key.removesuffix("/unit_times") for key in keys if key.endswith("/unit_times")}
    return found
