"""Files as the add-on needs them: written whole or not at all, named by their content."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .errors import AddonError

BLOCK = 1 << 20
WRITING_SECONDS = 60.0


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename.

    Raises:
        AddonError: the folder is missing, read-only or full.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise AddonError(
            f"{path} could not be written: {error.strerror or error}.", "Free some space or choose another folder."
        ) from error


def discard_parts(folder: Path) -> None:
    """Delete what `write_atomic` left in a folder when its process was killed; writing takes moments."""
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > WRITING_SECONDS:
                part.unlink()


def sha256_of(path: Path, step: Callable[[], object] = lambda: None) -> tuple[str, int]:
    """(SHA-256 as 64 lower-case hex digits, size in bytes) of a file.

    Args:
        step: called for each block of 1 MiB; it may raise to stop.

    Raises:
        AddonError: the file cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                step()
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise AddonError(
            f"{path} cannot be read: {error.strerror or error}.", "Relink or replace its strip."
        ) from error
    return digest.hexdigest(), size


class Digests:
    """SHA-256 of files, computed again only when size or time of a file changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    def sha256(self, path: Path, step: Callable[[], object] = lambda: None) -> str:
        """As `sha256_of`, without the size. Raises AddonError."""
        try:
            status = path.stat()
        except OSError:
            return sha256_of(path, step)[0]  # which says what is wrong
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._known:
            self._known[key] = sha256_of(path, step)[0]
        return self._known[key]


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where the disk knows no second names. Raises AddonError."""
    try:
        try:
            os.link(source, target)
        except FileExistsError:
            return
        except OSError:
            shutil.copyfile(source, target)
    except OSError as error:
        raise AddonError(
            f"{source} cannot be taken over: {error.strerror or error}.", "Dub the whole strip again."
        ) from error
