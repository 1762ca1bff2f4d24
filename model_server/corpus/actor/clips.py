"""A clip of one actor as shards keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.shards import Corpus
from model_server.corpus.speech.clips import decoded_samples
from model_server.errors import ErrorKind, PoseDubError
from model_server.features import SAMPLE_RATE

FPS = 25
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
_KEPT = {"jpegs", "sizes", "sound", "angles", "lids", "landmarks"}
_ARRAYS = ("angles", "lids", "landmarks", "visemes")


@dataclass(frozen=True, eq=False)
class ActorClip:
    """A clip of n frames at 25 fps; pixels are those of the one view that all frames share.

    Attributes:
        name: unique in the corpus.
        identity: the actor.
        source: "synthetic" or "footage".
        jpegs: n JPEG files, all of one size, square, RGB.
        sound: FLAC file of n * 640 samples, mono, 16 kHz; sample 0 belongs to the beginning of frame 0.
        angles: (n, 3) float32 yaw, pitch, roll in degrees: to the viewer's right, up, clockwise as seen are positive.
        lids: (n,) float32 closure of the lids, 0 open to 1 shut.
        landmarks: (n, 68, 2) float32 iBUG points, pixels.
        visemes: (n, 17) float16 weights, rows summing to 1; None where they are not known.
    """

    name: str
    identity: str
    source: str
    jpegs: tuple[bytes, ...]
    sound: bytes
    angles: NDArray[np.float32]
    lids: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    visemes: NDArray[np.float16] | None = None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.jpegs)

    @property
    def samples(self) -> NDArray[np.float32]:
        """The sound's samples (n * 640,), -1 to 1."""
        return decoded_samples(self.sound)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The clip as the tensors of a shard."""
        kept = {key: np.ascontiguousarray(value) for key in _ARRAYS if (value := getattr(self, key)) is not None}
        sizes = np.array([len(jpeg) for jpeg in self.jpegs], np.int32)
        files = {"jpegs": self.jpegs, "sound": (self.sound,)}
        return kept | {"sizes": sizes} | {k: np.frombuffer(b"".join(v), np.uint8) for k, v in files.items()}


def fitted_sound(samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Sound of exactly so many frames: cut, or followed by silence."""
    wanted = frames * SAMPLES_PER_FRAME
    return np.pad(samples[:wanted], (0, max(wanted - len(samples), 0)))


def read_actor_clip(corpus: Corpus, name: str) -> ActorClip:
    """Read one clip of an actor's corpus.

    Raises:
        PoseDubError: no clip has this name, it is no actor's clip, or its shard is damaged.
    """
    entry, tensors = corpus.entry(name), corpus.tensors(name)
    if not _is_actors(tensors):
        sentence = f"The clip {name} of {corpus.folder} is no actor's; build it with posedub corpus synthetic --actor."
        raise PoseDubError(sentence, ErrorKind.UNSUPPORTED)
    data, ends = tensors["jpegs"].tobytes(), np.cumsum(tensors["sizes"])
    jpegs = tuple(data[end - size : end] for size, end in zip(tensors["sizes"], ends, strict=True))
    arrays = {key: tensors[key] for key in _ARRAYS if key in tensors}
    return ActorClip(name, entry.identity, entry.source, jpegs, tensors["sound"].tobytes(), **arrays)


def is_actor_corpus(corpus: Corpus) -> bool:
    """Whether its clips are an actor's."""
    return bool(corpus.entries) and _is_actors(corpus.tensors(corpus.entries[0].name))


def _is_actors(tensors: Mapping[str, NDArray[Any]]) -> bool:
    """Other clips with sound keep its mel rows, too."""
    return tensors.keys() >= _KEPT and "mel" not in tensors
