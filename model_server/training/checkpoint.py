"""Checkpoints: written whole or not at all, the last two kept, and split into files small enough to carry."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model_server.errors import ErrorKind, PoseDubError
from model_server.files import atomic_file, replacing, write_text
from model_server.surroundings import naming

log = logging.getLogger(__name__)

FORMAT = "posedub-training-1"
KEPT = 2
PART_BYTES = 16 << 20
MANIFEST = "parts.json"
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, pickle.PickleError)


@dataclass
class Checkpoint:
    """Where a run stands. The chance of a step comes from seed, stage and step alone, so these are its random state
    and its place in the data.

    Attributes:
        config: the configuration's digest.
        stage: being trained.
        steps: optimiser steps done of each stage begun.
        models: tensors of all networks.
        optimizers: states of the current stage's optimisers; empty in a checkpoint made to travel light.
        settings: the configuration itself, to be read.
    """

    config: str
    stage: str
    steps: dict[str, int]
    models: dict[str, Tensor]
    optimizers: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(self.steps.values())


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint to the run's folder and remove all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{checkpoint.total_steps:09}.pt"
    try:
        with replacing(path, durable=True) as part, part.open("xb") as file:
            torch.save({"format": FORMAT, **vars(checkpoint)}, file)
    except (OSError, RuntimeError) as error:  # torch has an error of its own for a full disk
        raise PoseDubError(f"The checkpoint {path} cannot be written ({error}); free some space.") from error
    for old in _all(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def latest(folder: Path) -> Path | None:
    """The last checkpoint of a run, None when there is none."""
    found = _all(folder)
    return found[-1] if found else None


def stage_of(run: Path) -> str | None:
    """The stage of a run's last checkpoint; None when there is none."""
    path = latest(run)
    return load(path).stage if path else None


def to_resume(run: Path, config: str) -> Checkpoint | None:
    """The last checkpoint of a run, read; None when there is none.

    Args:
        config: digest of the configuration that the run goes on with.

    Raises:
        PoseDubError: it is damaged, or the run was made with another configuration.
    """
    path = latest(run)
    if path is None:
        return None
    found = load(path)
    if found.config != config:
        raise PoseDubError(
            f"The run {run} was made with other settings; give it the same ones or choose another folder.",
            ErrorKind.UNSUPPORTED,
        )
    log.info("going on from %s", path)
    return found


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        PoseDubError: the file is damaged or of another format.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("format") != FORMAT:
            raise ValueError("it has another format")
        return Checkpoint(**content)
    except _UNREADABLE as error:
        raise PoseDubError(
            f"The checkpoint {path} cannot be read ({error}); delete it to go on from the one before.",
            ErrorKind.CORRUPT,
        ) from error


def lightened(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint in half precision and without optimisers: much smaller, and no longer an exact resume."""
    models = {name: value.half() if value.is_floating_point() else value for name, value in checkpoint.models.items()}
    return Checkpoint(**{**vars(checkpoint), "models": models, "optimizers": {}})


def pack(path: Path, folder: Path, part_bytes: int = PART_BYTES) -> list[Path]:
    """Split a checkpoint into files of at most `part_bytes` with a manifest; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    data = path.read_bytes()
    pieces = [data[start : start + part_bytes] for start in range(0, len(data), part_bytes)]
    parts = [folder / f"{path.stem}.{n:03}.part" for n in range(len(pieces))]
    for part, piece in zip(parts, pieces, strict=True):
        with naming(part):
            part.write_bytes(piece)
    manifest = {"name": path.name, "sha256": hashlib.sha256(data).hexdigest(), "parts": [part.name for part in parts]}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
    return [*parts, folder / MANIFEST]


def unpack(folder: Path, run: Path) -> Path:
    """Join what `pack` split into a run's folder.

    Raises:
        PoseDubError: a part is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        data = b"".join((folder / name).read_bytes() for name in manifest["parts"])
        whole = hashlib.sha256(data).hexdigest() == manifest["sha256"]
    except (OSError, ValueError, KeyError) as error:
        sentence = f"The checkpoint in {folder} is not complete ({error}); copy all its parts again."
        raise PoseDubError(sentence, ErrorKind.CORRUPT) from error
    if not whole:
        raise PoseDubError(f"A part of the checkpoint in {folder} is damaged; copy it again.", ErrorKind.CORRUPT)
    run.mkdir(parents=True, exist_ok=True)
    target = run / Path(manifest["name"]).name
    with atomic_file(target) as file:
        file.write(data)
    return target


def settings_of(config: Any) -> dict[str, Any]:
    """A configuration as plain values."""
    return asdict(config)


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.pt"))
