"""Reads the published PC-AVS checkpoint: a zip or folder of pickled state dicts, one per network.

Pickles come from strangers, so they are only ever read by torch's restricted loader, which builds tensors and refuses
everything else, and in a process whose memory is limited, because a damaged header can ask for any amount.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from model_server.engines.pcavs.weights import write_weights
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest
from model_server.networks.pcavs.checkpoint_keys import TABLES, published_key
from model_server.networks.pcavs.model import parameter_shapes
from model_server.surroundings import out_of_memory

NETWORKS = tuple(letter for letter, _ in TABLES.values())
FILE_NAME = re.compile(r"(?P<epoch>[^.].*)_net_(?P<network>" + "|".join(NETWORKS) + r")\.pth")
MAX_FILE_BYTES = 512 << 20
MEMORY_MARGIN = 4 << 30

log = logging.getLogger(__name__)


def convert(source: Path, out: Path, name: str) -> None:
    """Write the weights of the checkpoint `source` to the weights file `out`; raises PoseDubError.

    Meant for a process of its own: it limits that process's memory for good.
    """
    _limit_memory()
    state: dict[str, Tensor] = {}
    problems: list[str] = []
    with _network_files(source) as files:
        for network, file in files.items():
            _collect(network, _read_pickle(source, file), state, problems)
        digest = _source_digest(source, files)
    if problems:
        raise PoseDubError(
            f"The checkpoint {source.name} does not fit the published networks: {', '.join(problems)}; "
            "get the complete checkpoint.",
            ErrorKind.CORRUPT,
        )
    write_weights(out, state, "full", "imported", name, digest)


def _collect(network: str, entries: dict[str, Any], state: dict[str, Tensor], problems: list[str]) -> None:
    for name, shape in parameter_shapes("full").items():
        letter, key = published_key(name)
        if letter != network:
            continue
        value = entries.get(key)
        problem = _problem(value, shape)
        if problem:
            problems.append(f"{network}:{key} {problem}")
        else:
            state[name] = value.reshape(shape).float()  # type: ignore[union-attr]


def _problem(value: Any, shape: tuple[int, ...]) -> str:
    if value is None:
        return "is missing"
    if not isinstance(value, Tensor) or value.layout != torch.strided or not value.is_floating_point():
        return "is not an array of numbers"
    if _without_ones(value.shape) != _without_ones(shape):
        return f"has the shape {tuple(value.shape)} instead of {shape}"
    return "" if bool(torch.isfinite(value).all()) else "holds infinite or undefined numbers"


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    """The published modulated convolutions have leading and trailing dimensions of one, which mean nothing."""
    return [size for size in shape if size != 1]


def _read_pickle(source: Path, file: Traversable) -> dict[str, Any]:
    data = _read(source, file)
    try:
        entries = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as problem:  # a stranger's bytes can fail in any way
        if out_of_memory(problem):
            raise PoseDubError(
                f"The file {file.name} of {source.name} asks for more memory than it may have: it is damaged, or other "
                "programs take too much; close them, or get the checkpoint from its authors.",
                ErrorKind.TOO_LARGE,
            ) from problem
        log.info("torch refused %s: %s", file.name, problem)
        entries = None
    if not isinstance(entries, dict):
        raise PoseDubError(
            f"The file {file.name} of {source.name} is not a plain set of weights: it is damaged or asks to run code, "
            "which was refused; get the checkpoint from its authors.",
            ErrorKind.CORRUPT,
        )
    return entries


def _read(source: Path, file: Traversable) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as problem:
        raise PoseDubError(
            f"The file {file.name} of {source.name} cannot be read ({problem}); copy the checkpoint again.",
            ErrorKind.CORRUPT,
        ) from problem
    if len(data) > MAX_FILE_BYTES:
        raise PoseDubError(
            f"The file {file.name} of {source.name} is larger than any published network; get the checkpoint from "
            "its authors.",
            ErrorKind.TOO_LARGE,
        )
    return data


@contextmanager
def _network_files(source: Path) -> Iterator[dict[str, Traversable]]:
    """The file of each network; names inside a zip are only compared and never become paths."""
    if source.is_dir():
        yield _choose(source, sorted(source.iterdir()))
        return
    try:
        archive = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile) as problem:
        raise PoseDubError(
            f"The checkpoint {source.name} is no readable zip file or folder; copy it again.", ErrorKind.CORRUPT
        ) from problem
    with archive:
        yield _choose(source, [zipfile.Path(archive, name) for name in archive.namelist()])


def _choose(source: Path, files: list[Any]) -> dict[str, Traversable]:
    found: dict[str, dict[str, Traversable]] = {network: {} for network in NETWORKS}
    for file in files:
        match = FILE_NAME.fullmatch(file.name)
        if match and file.is_file():
            found[match["network"]][match["epoch"]] = file
    missing = [f"latest_net_{network}.pth" for network, epochs in found.items() if not epochs]
    if missing:
        raise PoseDubError(
            f"The checkpoint {source.name} lacks {', '.join(missing)}; get the complete checkpoint.",
            ErrorKind.NOT_FOUND,
        )
    return {network: _newest(source, epochs) for network, epochs in found.items()}


def _newest(source: Path, epochs: dict[str, Traversable]) -> Traversable:
    if len(epochs) > 1 and "latest" not in epochs:
        raise PoseDubError(
            f"The checkpoint {source.name} holds the epochs {', '.join(sorted(epochs))}; keep one of them, "
            "or name it latest."
        )
    return epochs.get("latest") or next(iter(epochs.values()))


def _source_digest(source: Path, files: dict[str, Traversable]) -> str:
    if source.is_file():
        return file_digest(source)
    parts = [hashlib.sha256(_read(source, file)).digest() for file in files.values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit = psutil.Process().memory_info().vms + MEMORY_MARGIN
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
