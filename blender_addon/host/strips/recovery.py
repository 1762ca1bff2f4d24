"""Dubs that the .blend file does not know, because it was not saved after they began.

Beside the frames and their manifest lies a note on where the result belongs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import bpy

from ...core import naming
from ...core.errors import AddonError
from ...core.files import write_atomic
from ...core.jobs import UNFINISHED, JobRecord, JobState
from ...core.manifest import Manifest, read_manifest
from ...core.plan import DubPlan
from ...core.settings import TAKES
from .placement import Placement

NOTE = "placement.json"


def note(folder: Path, scene: bpy.types.Scene, placement: Placement) -> None:
    """Write down where a dub belongs; raises AddonError."""
    values = {"blend": Path(bpy.data.filepath).name, "scene": scene.name, "placement": placement.to_json()}
    write_atomic(folder / NOTE, json.dumps(values).encode())


def sources(folder: Path) -> str:
    """The note on the strips that a take was made from, as `origin` writes it; "" when there is none."""
    try:
        return str(json.loads((folder / NOTE).read_bytes())["placement"].get("sources", ""))
    except (OSError, KeyError, TypeError, ValueError):
        return ""


def users(folder: Path) -> set[str]:
    """Names of the .blend files that a take belongs to; "" stands for one that was never saved."""
    try:
        values = json.loads((folder / NOTE).read_bytes())
        return set(values.get("users", ())) or {values["blend"]}
    except (OSError, KeyError, TypeError, ValueError):
        return set()


def claim(folders: Iterable[Path], blend: str) -> None:
    """Note that a .blend file shows these takes, so that no other one removes them."""
    for path in (folder / NOTE for folder in folders):
        if path.is_file() and blend not in users(path.parent):
            values = json.loads(path.read_bytes())
            values["users"] = sorted({*users(path.parent), blend} - {""})
            write_atomic(path, json.dumps(values).encode())


def dismiss(folder: Path) -> None:
    """The dub of this folder is not to be listed again."""
    path = folder / NOTE
    if path.is_file():
        write_atomic(path, json.dumps(json.loads(path.read_bytes()) | {"dismissed": True}).encode())


def lost() -> Iterator[tuple[JobRecord, Placement]]:
    """Dubs beside the open file that began in it and that a server accepted; of a scene that is gone only open ones."""
    home = Path(bpy.path.abspath(TAKES))
    for path in sorted(home.glob(f"*/*/{NOTE}")) if bpy.data.filepath else []:
        try:
            values = json.loads(path.read_bytes())
            if values["blend"] != Path(bpy.data.filepath).name or values.get("dismissed"):
                continue
            scene, record = bpy.data.scenes.get(values["scene"]), _record(read_manifest(path.parent))
            if scene or record.state in UNFINISHED:
                yield record, Placement.from_json(values["placement"], scene)
        except (AddonError, OSError, KeyError, TypeError, ValueError):
            continue


def _record(manifest: Manifest) -> JobRecord:
    record = JobRecord(relocated(manifest.plan, manifest.plan.folder), job_id=manifest.job_id, error=manifest.error)
    record.state = cast(JobState, manifest.state)
    record.weights_name, record.weights_kind = manifest.weights.name, manifest.weights.kind
    record.warnings, record.retryable = list(manifest.warnings), manifest.state == "failed"
    record.saved_end = naming.saved_end(record.plan.folder, record.plan.first, record.plan.end)
    return record


def relocated(plan: DubPlan, folder: Path) -> DubPlan:
    """The plan with its folder, and the sound in it, where they lie now."""
    return replace(plan, folder=folder, speech=replace(plan.speech, file=folder / plan.speech.file.name))
