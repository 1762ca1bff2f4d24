"""The trained weights inside the package: safetensors files, and beside them a record with the SHA-256 of each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.engines.base import PoseReading, WeightsInfo
from model_server.engines.registry import traits
from model_server.engines.speech_recogniser import load_recogniser
from model_server.engines.weights_file import (
    compacted,
    describe,
    keep_part,
    keep_pose_reading,
    read_state,
    write_weights,
)
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest

if TYPE_CHECKING:
    from torch import Tensor

DATA = Path(__file__).parent / "data"
RECORD = "shipped.json"
FILE, RECOGNISER, ACTOR = "lite.safetensors", "recogniser.safetensors", "actor.safetensors"
MAX_BYTES, MAX_ACTOR_BYTES = 20_000_000, 25_000_000


def shipped_weights(folder: Path = DATA) -> WeightsInfo | None:
    """The package's trained weights; None when it was built without any.

    Raises:
        PoseDubError: the package has some, but they are missing or not what was shipped.
    """
    return _described(FILE, folder)


def shipped_actor(folder: Path = DATA) -> WeightsInfo | None:
    """The package's actor; None when it was built without one. Raises as `shipped_weights`."""
    return _described(ACTOR, folder)


def shipped_recogniser(folder: Path = DATA) -> Path | None:
    """The package's speech recogniser; None when it was built without one. Raises as `shipped_weights`."""
    return _shipped(RECOGNISER, folder)


def _described(name: str, folder: Path) -> WeightsInfo | None:
    path = _shipped(name, folder)
    return describe(path, _record(folder)[name]) if path else None


def _shipped(name: str, folder: Path) -> Path | None:
    digest, path = _record(folder).get(name), folder / name
    if digest is None:
        return None
    if not path.is_file() or file_digest(path) != digest:
        raise PoseDubError(
            f"The built-in weights {path} are missing or damaged; install PoseDub again.", ErrorKind.CORRUPT
        )
    return path


def ship(source: Path, folder: Path = DATA) -> WeightsInfo:
    """Make trained lite weights those of the package.

    Raises:
        PoseDubError: the weights are not trained lite ones, or too large to be shipped.
    """
    info = describe(source)
    if info.kind != "trained" or info.preset not in ("lite", "lite-in-place"):
        raise PoseDubError(f"{source} holds {info.kind} {info.preset} weights; only trained lite ones can be shipped.")
    folder.mkdir(exist_ok=True)
    path = folder / FILE
    write_weights(
        path,
        compacted(read_state(source)),
        info.preset,
        info.kind,
        info.name,
        info.id,
        info.pose_map,
        info.pose_reading,
        engine=info.engine,
    )
    if path.stat().st_size > MAX_BYTES:
        raise PoseDubError(f"{path} is larger than {MAX_BYTES} bytes; train a smaller preset.", ErrorKind.TOO_LARGE)
    _note(path)
    return describe(path)


def ship_recogniser(source: Path, folder: Path = DATA) -> Path:
    """Make a trained speech recogniser that of the package; raises PoseDubError when it is none, or too large."""
    load_recogniser(source)
    return _copied(source, folder / RECOGNISER, MAX_BYTES)


def ship_actor(source: Path, folder: Path = DATA) -> WeightsInfo:
    """Make a trained actor that of the package, as the file is.

    Raises:
        PoseDubError: the weights draw no actor, are not trained, or are too large to be shipped.
    """
    info = describe(source)
    if info.kind != "trained" or traits(info).portrait:
        raise PoseDubError(f"{source} holds {info.kind} weights of {info.engine}; only a trained actor can be shipped.")
    return describe(_copied(source, folder / ACTOR, MAX_ACTOR_BYTES))


def ship_pose_reading(pose_reading: PoseReading, folder: Path = DATA) -> WeightsInfo:
    """Write into the package's weights where their pose codes are best taken from; their tensors stay as they are."""
    info = keep_pose_reading(folder / FILE, pose_reading)
    _note(folder / FILE)
    return info


def ship_part(prefix: str, part: Mapping[str, Tensor], folder: Path = DATA) -> WeightsInfo:
    """Write a part's tensors into the package's weights, see `keep_part`; all others stay as they are."""
    info = keep_part(folder / FILE, prefix, part)
    _note(folder / FILE)
    return info


def _copied(source: Path, path: Path, limit: int) -> Path:
    if source.stat().st_size > limit:
        raise PoseDubError(f"{source} is larger than {limit} bytes; train a smaller one.", ErrorKind.TOO_LARGE)
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, path)
    _note(path)
    return path


def _record(folder: Path) -> dict[str, str]:
    path = folder / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def _note(path: Path) -> None:
    record = _record(path.parent) | {path.name: file_digest(path)}
    (path.parent / RECORD).write_text(json.dumps(record, indent=1) + "\n")
