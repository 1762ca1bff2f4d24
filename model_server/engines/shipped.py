"""The trained weights inside the package: a safetensors file, and beside it a record with its SHA-256."""

from __future__ import annotations

import json
from pathlib import Path

from model_server.engines.base import PoseReading, WeightsInfo
from model_server.engines.weights_file import compacted, describe, keep_pose_reading, read_state, write_weights
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest

DATA = Path(__file__).parent / "data"
RECORD = "shipped.json"
FILE = "lite.safetensors"
MAX_BYTES = 20_000_000


def shipped_weights(folder: Path = DATA) -> WeightsInfo | None:
    """The package's trained weights; None when it was built without any.

    Raises:
        PoseDubError: the package has some, but they are missing or not what was shipped.
    """
    record = folder / RECORD
    if not record.is_file():
        return None
    digest, path = json.loads(record.read_text())["sha256"], folder / FILE
    if not path.is_file() or file_digest(path) != digest:
        raise PoseDubError(
            f"The built-in weights {path} are missing or damaged; install PoseDub again.", ErrorKind.CORRUPT
        )
    return describe(path)


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
    _record(folder)
    return describe(path)


def ship_pose_reading(pose_reading: PoseReading, folder: Path = DATA) -> WeightsInfo:
    """Write into the package's weights where their pose codes are best taken from; their tensors stay as they are."""
    info = keep_pose_reading(folder / FILE, pose_reading)
    _record(folder)
    return info


def _record(folder: Path) -> None:
    record = {"file": FILE, "sha256": file_digest(folder / FILE)}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")
