"""Temporary files and folders that say whose they are, so that what a killed process left can be told and tidied.

A name holds the computer, the process and when that began. What a living process uses is never touched, nor anything
that does not bear such a name, nor what belongs to another computer that shares the folder.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from model_server.errors import PoseDubError
from model_server.owner import PATTERN, is_alive, this_process

FOLDER = "posedub-"
FILE = ".part-"
_OWNED = re.compile(rf"(?:{FOLDER}|{re.escape(FILE)})({PATTERN})-.*", re.DOTALL)


def part_of(path: Path, folder: Path | None = None) -> Path:
    """A name for the file that becomes `path` when it is complete; beside it, or in a folder of the same disk.

    Ends like `path`, for libraries that go by the suffix, and is no longer than a file's name may be.
    """
    return (folder or path.parent) / f"{FILE}{this_process()}-{uuid.uuid4().hex[:8]}{path.suffix[-16:]}"


def make_folder() -> Path:
    """A new folder among the system's temporary ones; those that killed processes left there go first."""
    tidy_temporary()
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER}{this_process()}-"))


@contextmanager
def folder() -> Iterator[Path]:
    """`make_folder`, gone when the block ends."""
    made = make_folder()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@cache
def tidy_temporary() -> None:
    """Remove what killed processes left among the system's temporary folders; once in a process.

    Raises:
        PoseDubError: there is no temporary folder that can be written to.
    """
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise PoseDubError("No temporary folder can be written to; set TMPDIR to one that can.") from error
    tidy(Path(folder))


def tidy(folder: Path) -> None:
    """Remove what processes that have ended left in a folder; what cannot be removed stays."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if _is_left(entry.name):
                _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    with suppress(OSError):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def _is_left(name: str) -> bool:
    owned = _OWNED.fullmatch(name)
    return owned is not None and not is_alive(owned[1])
