"""Files as the add-on needs them: written whole or not at all, named by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from .errors import AddonError

BLOCK = 1 << 20


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
        temporary.unlink(missing_ok=True)
        raise AddonError(
            f"{path} could not be written: {error.strerror or error}.", "Free some space or choose another folder."
        ) from error


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
