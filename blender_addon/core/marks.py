"""What a render is to say of the dubs that it shows: the record that `posedub mark` signs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .manifest import Manifest, SourceFile
from .naming import frame_name
from .version import VERSION

FORMAT = 1


@dataclass(frozen=True)
class ShownDub:
    """A dub in a render.

    Attributes:
        manifest: of its take.
        first, end: pictures of the render that may show it, `first <= k < end`, counted from 0.
    """

    manifest: Manifest
    first: int
    end: int


@dataclass(frozen=True)
class Rendered:
    """What a render wrote.

    Attributes:
        files: a movie, or its pictures in order.
        frames: timeline frame of each picture.
    """

    files: tuple[Path, ...]
    frames: tuple[int, ...]

    def pictures(self, first: int, end: int) -> tuple[int, int] | None:
        """The pictures (first, end) that were made in timeline frames `first <= f < end`; None where there are none."""
        inside = [index for index, frame in enumerate(self.frames) if first <= frame < end]
        return (inside[0], inside[-1] + 1) if inside else None


def record(dubs: Sequence[ShownDub], files: Iterable[Path]) -> dict[str, Any]:
    """The record of a render as plain values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "composed": True,
        "files": [str(path) for path in files],
        "dubs": [_dub(dub) for dub in dubs],
    }


def take_record(manifest: Manifest) -> dict[str, Any]:
    """The record of a take: its own frames, which lie in its folder."""
    plan = manifest.plan
    files = [path for k in range(plan.take_first, plan.take_end) if (path := plan.folder / frame_name(k)).is_file()]
    values = record([ShownDub(manifest, plan.take_first, plan.take_end)], files)
    return values | {"composed": plan.output.footage is not None}


def _dub(dub: ShownDub) -> dict[str, Any]:
    manifest, weights = dub.manifest, dub.manifest.weights
    names = {"id": weights.weights_id, "name": weights.name, "kind": weights.kind, "preset": weights.preset}
    return {
        "job": manifest.job_id,
        "weights": names | {"engine": weights.engine},
        "sources": [_source(source) for source in manifest.sources],
        "frames": {"first": dub.first, "end": dub.end},
        "composed": manifest.plan.output.footage is not None,
        "consent": manifest.plan.consent,
    }


def _source(source: SourceFile) -> dict[str, str]:
    return {"role": source.role, "sha256": source.sha256, "name": Path(source.file).name, "path": source.file}
