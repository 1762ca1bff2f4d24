"""Takes of a sound: folders v001, v002, ... of frames, each with the manifest that made them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import schema
from .errors import AddonError
from .manifest import FILE_NAME, Manifest, read_manifest
from .naming import frame_name
from .plan import DubPlan

POSES = {
    "video": "pose from a strip",
    "fixed": "the portrait's pose",
    "frontal": "frontal",
    "codes": "pose keyframes",
    "speech": "pose from the speech",
}


@dataclass(frozen=True)
class Take:
    """One version as it lies on disk.

    Attributes:
        frames: how many it has.
        size: bytes on disk; a file that several takes share is divided among them.
        created: seconds since the epoch, 0 when not known.
        generated, seconds: what it took, -1 when not known.
        settings: one line.
    """

    folder: Path
    state: str
    frames: int
    size: int
    created: float
    generated: int
    seconds: float
    settings: str

    @property
    def version(self) -> str:
        """Name of its folder, as "v001"."""
        return self.folder.name


def read_takes(parent: Path) -> tuple[Take, ...]:
    """The takes in a folder, newest first; one whose manifest cannot be read is left out."""
    found = (_read(path.parent) for path in parent.glob(f"v*/{FILE_NAME}"))
    return tuple(sorted(filter(None, found), key=lambda take: take.version, reverse=True))


def _read(folder: Path) -> Take | None:
    try:
        manifest = read_manifest(folder)
    except AddonError:
        return None
    frames = set(map(frame_name, range(manifest.plan.take_first, manifest.plan.take_end)))
    names = {path.name for path in folder.iterdir()}
    return Take(
        folder,
        manifest.state,
        len(frames & names),
        folder_size(folder),
        manifest.created,
        manifest.generated,
        manifest.seconds,
        settings_line(manifest),
    )


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder; a file of several names counts for each of them in part."""
    return sum(status.st_size // max(1, status.st_nlink) for status in (path.stat() for path in folder.iterdir()))


def settings_line(manifest: Manifest) -> str:
    """What decides the pictures, for an editor who compares takes."""
    return ", ".join(_settings(manifest.plan, manifest))


def _settings(plan: DubPlan, manifest: Manifest) -> Iterator[str]:
    yield POSES[plan.pose.kind]
    yield from schema.words(plan, plan.limits.parameters)
    if plan.output.mode != "crop":
        yield plan.output.mode.replace("_", " ")
    if plan.kept:
        yield f"frames {plan.first} to {plan.end - 1} over {plan.kept.folder.name}"
    yield manifest.weights.name


def identity(plan: DubPlan) -> str:
    """Which dub a take is one of: another portrait, person, footage, kind or size of picture makes another dub."""
    portrait, output = plan.portrait, plan.output
    seen = (output.footage.file, output.footage.face) if output.footage else ()
    person = (portrait.file, portrait.face) if portrait else ()
    parts = (*person, plan.size, output.mode, *seen)
    return hashlib.sha256(repr(tuple(map(str, parts))).encode()).hexdigest()


def surplus(takes: Iterable[Take], limit: int, used: Collection[Path]) -> list[Take]:
    """The oldest takes that are not used, as many as must go for all to fit into `limit` bytes."""
    ordered = sorted(takes, key=lambda take: (take.created, take.version))
    total, chosen = sum(take.size for take in ordered), []
    for take in ordered:
        if total > limit and take.folder not in used:
            chosen.append(take)
            total -= take.size
    return chosen
