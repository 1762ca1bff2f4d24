"""An actor's frames and sounds, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_server.corpus.actor.clips import SAMPLES_PER_FRAME, ActorClip, read_actor_clip
from model_server.corpus.labels import lip_opening
from model_server.corpus.pictures import decode_jpeg
from model_server.corpus.shards import Corpus
from model_server.errors import ErrorKind, PoseDubError
from model_server.features import CROP_SIDE, gain_of
from model_server.training.face_network import VISEMES

Rows = NDArray[np.integer]

# Eyes and lips among the iBUG points.
PARTS = (slice(36, 42), slice(42, 48), slice(48, 68))
EYES = 24  # numbers of a frame's shapes that are the eyes'; the rest are the lips'
LEAST_SHAPE = 0.01  # deviation of a shape's number: what moves less is how landmarks are found

_OPENINGS = 12  # kinds of frames by how far lips are open
_EYE_DISTANCE = 29.0  # half of that between the eyes of a view of 224 pixels


@dataclass(frozen=True)
class Frames:
    """Some frames.

    Attributes:
        images: (n, 3, size, size) in [-1, 1].
        landmarks: (n, 68, 2) in units of a view of 224 pixels.
        angles: (n, 3) degrees.
        opening: (n,) lip opening over inter-ocular distance.
        visemes: (n, 17), rows of NaN where they are not known.
    """

    images: Tensor
    landmarks: Tensor
    angles: Tensor
    opening: Tensor
    visemes: Tensor

    def __len__(self) -> int:
        return len(self.images)


class ActorStore:
    """All clips of a split of an actor's corpora.

    Args:
        corpora: folders of shards.
        split: "train", "val" or "test".
        resolution: width and height that the pictures must have.

    Raises:
        PoseDubError: a corpus is of another kind, shows several people, or has pictures of another size; no clips to
            train on.
    """

    def __init__(self, corpora: Sequence[Path], split: str, resolution: int) -> None:
        self.clips: list[ActorClip] = []
        for folder in corpora:
            corpus = Corpus.open(folder)
            self.clips += [read_actor_clip(corpus, name) for name in corpus.names(split)]
        people = sorted({clip.identity for clip in self.clips})
        if len(people) > 1:
            raise PoseDubError(f"The corpora show {', '.join(people)}; DAE-Talker learns one actor, give one corpus.")
        if not self.clips and split == "train":
            raise PoseDubError("The corpora hold no clips to train on; build them anew.", ErrorKind.NOT_FOUND)
        for clip in self.clips[:1]:
            side = len(decode_jpeg(clip.jpegs[0]))
            if side != resolution:
                sentence = f"The corpus has pictures of {side} pixels, but the preset takes {resolution}; build it with"
                raise PoseDubError(f"{sentence} --size {resolution}.", ErrorKind.UNSUPPORTED)
        lengths = np.array([clip.frames for clip in self.clips], int)
        self._clip = np.repeat(np.arange(len(lengths)), lengths)
        self._frame = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
        self._scale = CROP_SIDE / resolution
        self._sounds = [clip.samples * gain_of(_rms(clip.samples)) for clip in self.clips]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._clip)

    def draw(self, rng: np.random.Generator, count: int) -> Rows:
        """Random frames' numbers (count,)."""
        return rng.integers(len(self), size=count)

    def draw_balanced(self, rng: np.random.Generator, count: int, balanced: float) -> Rows:
        """Random frames' numbers (count,), a share of them drawn evenly over how far lips are open."""
        rows = self.draw(rng, count)
        even = np.flatnonzero(rng.random(count) < balanced)
        kinds = rng.integers(len(self._by_opening), size=len(even))
        rows[even] = [rng.choice(self._by_opening[kind]) for kind in kinds]
        return rows

    def images(self, rows: Rows) -> Tensor:
        """Pictures (n, 3, size, size) in [-1, 1] of frames by number."""
        pictures = np.stack([decode_jpeg(self.clips[self._clip[k]].jpegs[self._frame[k]]) for k in rows])
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1

    def frames(self, rows: Rows) -> Frames:
        """Frames by number."""
        return Frames(
            self.images(rows), torch.from_numpy(self._landmarks[rows]), torch.from_numpy(self.angles[rows]),
            torch.from_numpy(self.opening[rows]), torch.from_numpy(self._visemes[rows]),
        )  # fmt: skip

    def landmarks(self, rows: Rows) -> Tensor:
        """Landmarks (n, 68, 2) in units of a view of 224 pixels."""
        return torch.from_numpy(self._landmarks[rows])

    def rows_of(self, clip: int) -> Rows:
        """Numbers of all frames of a clip."""
        return np.flatnonzero(self._clip == clip)

    def sound(self, clip: int, first: int, frames: int) -> NDArray[np.float32]:
        """Samples of some frames of a clip, which as a whole has the reference loudness."""
        return self._sounds[clip][first * SAMPLES_PER_FRAME : (first + frames) * SAMPLES_PER_FRAME]

    @cached_property
    def angles(self) -> NDArray[np.float32]:
        """Yaw, pitch and roll (frames, 3) in degrees of all frames."""
        return np.concatenate([clip.angles for clip in self.clips]).astype(np.float32)

    @cached_property
    def _landmarks(self) -> NDArray[np.float32]:
        return np.concatenate([clip.landmarks for clip in self.clips]).astype(np.float32) * np.float32(self._scale)

    @cached_property
    def opening(self) -> NDArray[np.float32]:
        """Lip opening over inter-ocular distance (frames,) of all frames."""
        return lip_opening(self._landmarks)

    @cached_property
    def _by_opening(self) -> list[Rows]:
        """Numbers of frames, by how far lips are open, in even steps; steps without frames are left out.

        The widest hundredth is one step with those below, and so the narrowest: single frames there may be misread.
        """
        low, high = np.percentile(self.opening, (1, 99))
        share = np.clip((self.opening - low) / max(high - low, 1e-6), 0, 1)
        kinds = np.minimum(share * _OPENINGS, _OPENINGS - 1).astype(int)
        return [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]

    @cached_property
    def part_shapes(self) -> Tensor:
        """Where the points of eyes and lips lie about their middle (frames, 64); 1 is half an eye distance."""
        moved = [self._landmarks[:, part] - self._landmarks[:, part].mean(1, keepdims=True) for part in PARTS]
        return torch.from_numpy(np.concatenate(moved, 1)).flatten(1) / _EYE_DISTANCE

    @cached_property
    def _visemes(self) -> NDArray[np.float32]:
        rows = [clip.visemes if clip.visemes is not None else np.full((clip.frames, VISEMES), np.nan)
                for clip in self.clips]  # fmt: skip
        return np.concatenate(rows).astype(np.float32)


def landmark_codes(store: ActorStore, size: int) -> Tensor:
    """Landmarks of all frames as latents (frames, size): standing in for a semantic encoder, zeros behind them.

    Their mean is taken away, and half the distance between the eyes is 1: what is left moves by tenths, about as much
    as latents do.
    """
    if not len(store):
        return torch.zeros(0, size)
    points = store.landmarks(np.arange(len(store)))
    moved = (points - points.mean(0)).flatten(1) / _EYE_DISTANCE
    return torch.nn.functional.pad(moved[:, :size], (0, max(size - moved.shape[1], 0)))


def _rms(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
