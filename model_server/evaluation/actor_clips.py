"""Clips of an actor's corpus as takes: the corpora that DAE-Talker is trained on keep their sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.actor.clips import ActorClip, read_actor_clip
from model_server.corpus.pictures import decode_jpeg
from model_server.corpus.shards import FPS, Corpus
from model_server.evaluation.clips import Windows, samples_at
from model_server.evaluation.views import Pictures
from model_server.features import MelWindows
from model_server.pipeline.faces.alignment import resized


class ActorTake:
    """Implements `EvalClip` with an actor's clip, whose pictures are network views already, and `Sound` with its sound.

    Args:
        clip: of a corpus.
        frames: at most so many of them.
    """

    lids: NDArray[np.float32] | None = None

    def __init__(self, clip: ActorClip, frames: int | None = None) -> None:
        self._clip = clip
        self.name, self.identity = clip.name, clip.identity
        self.count = min(clip.frames, frames or clip.frames)
        self.angles = clip.angles[: self.count] if clip.source == "synthetic" else None
        self.sound = clip.samples[: self.count * (len(clip.samples) // clip.frames)]
        self._mel = MelWindows(self, Fraction(FPS))

    @property
    def rms(self) -> float:
        """See `Sound.rms`."""
        return float(np.sqrt(np.mean((self.sound - self.sound.mean()).astype(np.float64) ** 2)))

    def read(self, first: int, count: int) -> NDArray[np.float32]:
        """See `Sound.read`."""
        return self.samples(first, first + count)

    def views(self, first: int, end: int) -> Pictures:
        """See `EvalClip.views`."""
        return np.stack([resized(decode_jpeg(jpeg)) for jpeg in self._clip.jpegs[first : min(end, self.count)]])

    def pictures(self, moments: Sequence[int]) -> Pictures:
        """Frames as the corpus has them, uint8 (n, size, size, 3)."""
        return np.stack([decode_jpeg(self._clip.jpegs[moment]) for moment in moments])

    def windows(self, indices: Sequence[int]) -> Windows:
        """See `EvalClip.windows`."""
        return self._mel.windows(indices)

    def samples(self, first: int, end: int) -> NDArray[np.float32]:
        """See `EvalClip.samples`."""
        return samples_at(self.sound, first, end)

    @property
    def true_angles(self) -> NDArray[np.float32]:
        """Yaw, pitch and roll (n, 3) in degrees as the corpus has them."""
        return self._clip.angles[: self.count]


@dataclass(frozen=True)
class ActorSource:
    """A clip of an actor's corpus, by name."""

    corpus: Corpus
    name: str
    frames: int | None = None

    @property
    def identity(self) -> str:
        """The actor."""
        return self.corpus.entry(self.name).identity

    def portrait(self) -> Pictures:
        """See `EvalSource.portrait`."""
        return self.open(Path()).views(0, 1)[0]

    def open(self, folder: Path) -> ActorTake:
        """See `EvalSource.open`."""
        return ActorTake(read_actor_clip(self.corpus, self.name), self.frames)
