"""Shards, the contract between corpus and training: clips in safetensors files that need no media library to read.

A corpus is a folder of `shard-*.safetensors` files of at most 16 MiB and a `corpus.json` that lists their clips.
JPEGs lie end to end in one byte tensor; flow is kept in eighths of a pixel, as differences along rows, deflated.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from model_server.errors import ErrorKind, PoseDubError
from model_server.features import CROP_SIDE, clip_bins, clip_windows
from model_server.files import atomic_file

FPS = 25
GRID = 56
CELL = CROP_SIDE // GRID
# First row of crops that pictures of the same frame with another mouth have: speech moves nothing above it.
OTHERS_TOP = 80
# Source of clips that are made of single photographs, in which nobody speaks.
PORTRAIT = "portrait"
MAX_SHARD_BYTES = 16 << 20
INDEX = "corpus.json"
FORMAT = "posedub-corpus-1"
SPLITS = ("train", "val", "test")

_FLOW_STEPS = 8  # per pixel; float16 is no finer above 128
_CONTENT = "corpus"  # key of a shard's metadata
_OTHERS = "other_"
_PLAIN = ("mel", "angles", "landmarks", "visemes", "opening", "lids", "flow_sources")


class Storable(Protocol):
    """What shards can hold; `frames` of 25 in a second tell its length."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def frames(self) -> int: ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All it holds, by names of which no two kinds of clips share one for different things."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip of n frames at 25 fps; pixels are those of the aligned 224x224 crop, its top left corner at (0, 0).

    Attributes:
        name: unique in the corpus.
        identity: the person.
        source: "synthetic", "grid", "footage" or "portrait".
        jpegs: n JPEG files of 224x224 RGB.
        mel: (m, 80) float16 in [0, 1], 100 rows per second of the RMS-normalised sound; see `windows`. NaN where
            nothing is known to be heard, as in photographs.
        angles: (n, 3) float32 yaw, pitch, roll in degrees as the crops show the head, whose mean roll the alignment
            takes away: to the viewer's right, up, clockwise as seen are positive.
        landmarks: (n, 68, 2) float32 iBUG points, pixels.
        visemes: (n, 17) float16 weights, rows summing to 1.
        opening: (n,) float32 lip opening over inter-ocular distance.
        lids: (n,) float32 closure of the lids, 0 as open as this person's are at rest, 1 closed.
        flow_sources: (k,) int16 frames of this clip that `flow` leads to.
        flow: (n, k, 56, 56, 2) float16: where the surface point at the centre of each 4x4 cell of frame i lies in
            frame `flow_sources[j]`, x and y in pixels.
        visible: (n, k, 56, 56) whether that point can be seen there.
        others: m JPEG files for each frame, in order: rows `OTHERS_TOP` to the last of the same head, light and camera
            with another mouth; none where there are none.
        sound: FLAC file of mono 16 kHz, sample 0 at the beginning of frame 0; none where nobody is heard, and in
            corpora of before sounds were kept.
    """

    name: str
    identity: str
    source: str
    jpegs: tuple[bytes, ...]
    mel: NDArray[np.float16]
    angles: NDArray[np.float32] | None = None
    landmarks: NDArray[np.float32] | None = None
    visemes: NDArray[np.float16] | None = None
    opening: NDArray[np.float32] | None = None
    flow_sources: NDArray[np.int16] | None = None
    flow: NDArray[np.float16] | None = None
    visible: NDArray[np.bool_] | None = None
    others: tuple[bytes, ...] = ()
    lids: NDArray[np.float32] | None = None
    sound: bytes = b""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.jpegs)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The clip as the tensors of a shard; absent labels are left out."""
        return _tensors(self)


@dataclass(frozen=True)
class Entry:
    """What the index says of a clip: its labels' owner, length, and where it lies.

    Attributes:
        name, identity, source: as in `Clip`.
        frames: number of frames.
        shard: file name.
        split: "train", "val" or "test".
    """

    name: str
    identity: str
    source: str
    frames: int
    shard: str
    split: str = "train"


@dataclass(frozen=True)
class Dropped:
    """A source that gave no clip, and why, in a few words."""

    source: str
    reason: str


@dataclass(frozen=True)
class ShardContent:
    """A shard's own list of contents: its clips and what was dropped while it was made."""

    clips: tuple[Entry, ...] = ()
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True)
class Index:
    """What `corpus.json` holds: clips, dropped sources, and the settings the corpus was made with."""

    clips: tuple[Entry, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


def windows(clip: Clip, indices: Sequence[int]) -> NDArray[np.float32]:
    """Mel windows of frames, (n, 80, 20) in [0, 1]: rows 4i-8 to 4i+11 of the clip's mel, zeros outside it."""
    return clip_windows(clip.mel, indices, Fraction(FPS))


def mel_rows_needed(frames: int) -> int:
    """Mel rows that the windows of a clip's frames reach."""
    return clip_bins(frames, Fraction(FPS))


def write_shard(path: Path, clips: Sequence[Storable], dropped: Sequence[Dropped] = ()) -> None:
    """Write clips to a shard, which appears whole or not at all.

    Raises:
        PoseDubError: the shard would be larger than 16 MiB.
    """
    path = Path(path)
    tensors = {f"{clip.name}/{key}": value for clip in clips for key, value in clip.tensors().items()}
    listed = [{"name": c.name, "identity": c.identity, "source": c.source, "frames": c.frames} for c in clips]
    content = {"format": FORMAT, "clips": listed, "dropped": [asdict(item) for item in dropped]}
    # One entry only: several would be written in any order, and the same clips give the same bytes.
    data = save(tensors, {_CONTENT: json.dumps(content)})
    if len(data) > MAX_SHARD_BYTES:
        raise PoseDubError(
            f"The shard {path.name} would take {len(data) / 2**20:.1f} MiB, more than 16; put fewer frames into it.",
            ErrorKind.TOO_LARGE,
        )
    with atomic_file(path) as file:
        file.write(data)


def shard_bytes(clip: Storable) -> int:
    """Bytes that a clip takes in a shard, its share of the header included."""
    tensors = clip.tensors()
    return sum(value.nbytes for value in tensors.values()) + 200 * (len(tensors) + 1)


def read_content(path: Path) -> ShardContent:
    """What a shard holds, from its header alone; the entries' split is yet to be set.

    Raises:
        PoseDubError: the file is damaged or no shard.
    """
    try:
        with safe_open(path, "numpy") as shard:
            content = json.loads((shard.metadata() or {})[_CONTENT])
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}")
        clips = tuple(Entry(**clip, shard=Path(path).name) for clip in content["clips"])
        return ShardContent(clips, tuple(Dropped(**item) for item in content["dropped"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise PoseDubError(
            f"The shard {path} cannot be read ({error}); delete it and build the corpus again.", ErrorKind.CORRUPT
        ) from error


def write_index(folder: Path, index: Index) -> None:
    """Write `corpus.json`, with counts for the reader's eye."""
    counts = {split: _count([c for c in index.clips if c.split == split]) for split in SPLITS}
    document = {
        "format": FORMAT,
        "counts": {"all": _count(index.clips), **counts, "dropped": len(index.dropped)},
        "settings": index.settings,
        "dropped": [asdict(item) for item in index.dropped],
        "clips": [asdict(clip) for clip in index.clips],
    }
    with atomic_file(Path(folder) / INDEX) as file:
        file.write(json.dumps(document, indent=1).encode())


def read_index(folder: Path) -> Index:
    """Read `corpus.json`.

    Raises:
        PoseDubError: there is none or it is damaged.
    """
    path = Path(folder) / INDEX
    try:
        document = json.loads(path.read_bytes())
        clips = tuple(Entry(**clip) for clip in document["clips"])
        return Index(clips, tuple(Dropped(**item) for item in document["dropped"]), document["settings"])
    except FileNotFoundError as error:
        sentence = f"The folder {folder} holds no {INDEX}; build a corpus there with posedub corpus."
        raise PoseDubError(sentence, ErrorKind.NOT_FOUND) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        sentence = f"The index {path} cannot be read ({error}); run the command that built the corpus again."
        raise PoseDubError(sentence, ErrorKind.CORRUPT) from error


class Corpus:
    """A corpus on disk; clips are read when asked for, so it may be shared with forked loaders.

    Attributes:
        folder: where it lies.
        index: what `corpus.json` says.
    """

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = Path(folder)
        self.index = index
        self._entries = {entry.name: entry for entry in index.clips}

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """Open the corpus in a folder.

        Raises:
            PoseDubError: the folder has no readable index.
        """
        return cls(Path(folder), read_index(Path(folder)))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All clips in the index's order."""
        return self.index.clips

    @property
    def identities(self) -> tuple[str, ...]:
        """Names of all persons, sorted."""
        return tuple(sorted({entry.identity for entry in self.entries}))

    def names(self, split: str | None = None) -> tuple[str, ...]:
        """Names of the clips of a split ("train", "val", "test"), or of all."""
        return tuple(entry.name for entry in self.entries if split in (None, entry.split))

    def entry(self, name: str) -> Entry:
        """What the index says of a clip.

        Raises:
            PoseDubError: no clip has this name.
        """
        if name not in self._entries:
            sentence = f"The corpus {self.folder} has no clip {name}; see its {INDEX}."
            raise PoseDubError(sentence, ErrorKind.NOT_FOUND)
        return self._entries[name]

    def clip(self, name: str) -> Clip:
        """Read one clip.

        Raises:
            PoseDubError: no clip has this name, or its shard is missing or damaged.
        """
        entry, tensors = self.entry(name), self.tensors(name)
        try:
            return _clip(entry, tensors)
        except (KeyError, zlib.error) as error:
            raise _unreadable(self.folder / entry.shard, error) from error

    def tensors(self, name: str) -> dict[str, NDArray[Any]]:
        """All that a clip's shard holds of it.

        Raises:
            PoseDubError: no clip has this name, or its shard is missing or damaged.
        """
        path, prefix = self.folder / self.entry(name).shard, f"{name}/"
        try:
            with safe_open(path, "numpy") as shard:
                keys = [key for key in shard.keys() if key.startswith(prefix)]  # noqa: SIM118 - the handle is no mapping
                return {key.removeprefix(prefix): shard.get_tensor(key) for key in keys}
        except (OSError, SafetensorError) as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> PoseDubError:
    sentence = f"The shard {path} cannot be read ({error}); run the command that built the corpus again."
    return PoseDubError(sentence, ErrorKind.CORRUPT)


def _tensors(clip: Clip) -> dict[str, NDArray[Any]]:
    tensors = {key: value for key in _PLAIN if (value := getattr(clip, key)) is not None}
    tensors |= _pack_files(clip.jpegs)
    if clip.others:
        tensors |= _pack_files(clip.others, _OTHERS)
    if clip.sound:
        tensors["sound"] = np.frombuffer(clip.sound, np.uint8)
    if clip.flow is not None and clip.visible is not None:
        tensors["flow"] = _pack_flow(clip.flow)
        tensors["visible"] = _deflate(np.packbits(clip.visible).tobytes())
    return {key: np.ascontiguousarray(value) for key, value in tensors.items()}


def _clip(entry: Entry, tensors: dict[str, NDArray[Any]]) -> Clip:
    labels: dict[str, Any] = {key: tensors[key] for key in _PLAIN if key in tensors}
    if "sound" in tensors:
        labels["sound"] = tensors["sound"].tobytes()
    if f"{_OTHERS}jpegs" in tensors:
        labels["others"] = _unpack_files(tensors, _OTHERS)
    if "flow" in tensors:
        shape = (entry.frames, len(tensors["flow_sources"]), GRID, GRID)
        labels["flow"] = _unpack_flow(tensors["flow"], shape)
        bits = np.frombuffer(zlib.decompress(tensors["visible"].tobytes()), np.uint8)
        labels["visible"] = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
    return Clip(entry.name, entry.identity, entry.source, _unpack_files(tensors), **labels)


def _pack_files(files: Sequence[bytes], prefix: str = "") -> dict[str, NDArray[Any]]:
    sizes = np.array([len(file) for file in files], np.int32)
    return {f"{prefix}jpegs": np.frombuffer(b"".join(files), np.uint8), f"{prefix}sizes": sizes}


def _unpack_files(tensors: dict[str, NDArray[Any]], prefix: str = "") -> tuple[bytes, ...]:
    data, sizes = tensors[f"{prefix}jpegs"].tobytes(), tensors[f"{prefix}sizes"]
    return tuple(data[end - size : end] for size, end in zip(sizes, np.cumsum(sizes), strict=True))


def _pack_flow(flow: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Flow is smooth: differences along rows are small numbers, and their high bytes nearly all zero."""
    steps = np.round(flow.astype(np.float32) * _FLOW_STEPS).clip(-30000, 30000).astype(np.int16)
    planes = np.ascontiguousarray(np.moveaxis(steps, -1, 0))
    differences = np.diff(planes, axis=-1, prepend=np.int16(0))
    return _deflate(differences.view(np.uint8).reshape(-1, 2).T.tobytes())


def _unpack_flow(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float16]:
    data = np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8).reshape(2, -1)
    differences = np.ascontiguousarray(data.T).view(np.int16).reshape(2, *shape)
    planes = np.cumsum(differences, axis=-1, dtype=np.int16)
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1) / np.float32(_FLOW_STEPS), np.float16)


def _deflate(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.compress(data, 6), np.uint8)


def _count(clips: Sequence[Entry]) -> dict[str, int]:
    return {
        "identities": len({clip.identity for clip in clips}),
        "clips": len(clips),
        "frames": sum(clip.frames for clip in clips),
    }
