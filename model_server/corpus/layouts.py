"""Finds videos and whose they are, in the folder layouts of the common talking-face corpora.

VoxCeleb2: `id00017/<video>/<clip>.mp4`. LRW: `WORD/train/WORD_00001.mp4`, speakers unknown. GRID: `s1/bbaf2n.mpg` or
`s1_bbaf2n.mpg`. Flat: any videos, a person per folder or per file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from model_server.errors import ErrorKind, PoseDubError

SUFFIXES = frozenset([".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mxf", ".flv", ".wmv", ".ts"])

_VOXCELEB_ID = re.compile(r"id\d{4,6}")
_LRW_FILE = re.compile(r"([A-Z]+)_\d{5}")
_GRID_FILE = re.compile(r"(?:(s\d+)_)?(?:.*_)?([blps][bgrw][abiw][a-z][0-9z][anps])")
_GRID_SPEAKER = re.compile(r"(?:.*_)?(s\d+)")


@dataclass(frozen=True)
class SourceVideo:
    """A video to be cropped.

    Attributes:
        path: the file.
        name: unique name of its clips, without dots.
        identity: the person.
        source: "grid" or "footage".
    """

    path: Path
    name: str
    identity: str
    source: str


def find_videos(sources: Iterable[Path], layout: str = "auto", identity_from: str = "folder") -> list[SourceVideo]:
    """All videos under folders, and files given by name, in the order of their names; copies are kept once.

    Args:
        sources: folders or video files.
        layout: "auto", "voxceleb2", "lrw", "grid" or "flat".
        identity_from: "folder" or "name", for the flat layout.

    Raises:
        PoseDubError: a source is missing, or there is no video at all.
    """
    found: dict[str, SourceVideo] = {}
    for source in sources:
        root = source if source.is_dir() else source.parent
        for path in _files(source):
            name = layout if layout != "auto" else detect_layout(path)
            video = _READERS[name](path, root, identity_from)
            found.setdefault(video.name, video)
    if not found:
        raise PoseDubError("The sources hold no video; give folders of MP4, MOV, MKV, AVI, WebM or MPEG files.")
    return [found[name] for name in sorted(found)]


def detect_layout(path: Path) -> str:
    """Layout that a video's path looks like."""
    if len(path.parts) > 3 and _VOXCELEB_ID.fullmatch(path.parts[-3]):
        return "voxceleb2"
    if _LRW_FILE.fullmatch(path.stem) and path.parent.name in ("train", "val", "test"):
        return "lrw"
    return "grid" if _GRID_FILE.fullmatch(path.stem) else "flat"


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise PoseDubError(f"The source {source} does not exist; give folders or video files.", ErrorKind.NOT_FOUND)
    return sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _voxceleb2(path: Path, root: Path, identity_from: str) -> SourceVideo:
    person, video = path.parts[-3:-1]
    return SourceVideo(path, _plain(f"{person}-{video}-{path.stem}"), person, "footage")


def _lrw(path: Path, root: Path, identity_from: str) -> SourceVideo:
    name = _plain(f"lrw-{path.parent.name}-{path.stem}")
    return SourceVideo(path, name, name, "footage")


def _grid(path: Path, root: Path, identity_from: str) -> SourceVideo:
    match, folder = _GRID_FILE.fullmatch(path.stem), _GRID_SPEAKER.fullmatch(path.parent.name)
    speaker = match[1] if match and match[1] else folder[1] if folder else path.parent.name
    sentence = match[2] if match else path.stem
    return SourceVideo(path, _plain(f"grid-{speaker}-{sentence}"), _plain(f"grid-{speaker}"), "grid")


def _flat(path: Path, root: Path, identity_from: str) -> SourceVideo:
    name = _plain("-".join(path.relative_to(root).with_suffix("").parts))
    identity = name if identity_from == "name" else _plain(path.parent.name)
    return SourceVideo(path, f"{_plain(root.name)}-{name}", identity, "footage")


def _plain(name: str) -> str:
    """A name without the separators that shards use."""
    return re.sub(r"[^\w-]+", "_", name)


_READERS: dict[str, Callable[[Path, Path, str], SourceVideo]] = {
    "voxceleb2": _voxceleb2,
    "lrw": _lrw,
    "grid": _grid,
    "flat": _flat,
}
