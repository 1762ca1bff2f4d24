"""Files that appear whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from model_server.errors import ErrorKind, PoseDubError
from model_server.scratch import part_of
from model_server.surroundings import naming


@contextmanager
def replacing(path: Path, parts: Path | None = None, durable: bool = False) -> Iterator[Path]:
    """Where to write a file that appears at `path`, complete or not at all, when the block succeeds.

    Args:
        parts: folder of the same disk for the file until then; else it is beside `path`.
        durable: whether it is then on the disk, too, so that a power cut does not take it back.
    """
    part = part_of(path, parts)
    try:
        yield part
        if durable:
            sync(part)
        os.replace(part, path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        if error.filename is not None and os.fsdecode(error.filename) == str(part):
            raise OSError(error.errno, error.strerror, str(path)) from error  # the file that its user knows
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def share_as_usual(path: Path) -> None:
    """Let others read a file as they may read any new one; some libraries keep what they write to its owner."""
    probe = part_of(path, None)
    probe.touch()
    path.chmod(probe.stat().st_mode)
    probe.unlink()


@contextmanager
def atomic_file(path: Path, parts: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file that appears at `path`, complete and on disk, when the block succeeds; makes its folder.

    Args:
        parts: as in `replacing`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, parts, durable=True) as part, part.open("xb") as file:
            yield file


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, complete or not at all; a pipe or terminal at `path` gets the text."""
    with naming(path):
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content; PoseDubError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PoseDubError(f"{path} cannot be read ({error.strerror}); check the path.", ErrorKind.NOT_FOUND) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders, and journals renames itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
