"""Places to write to: tried before the work, so that minutes of it are not lost to a folder that takes no file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model_server.errors import ErrorKind, PoseDubError
from model_server.scratch import part_of, tidy
from model_server.surroundings import explained, naming

_TRIAL_BYTES = 1 << 16
_IN_THE_WAY = {errno.ENOTDIR, errno.EEXIST}
_FORBIDDEN = {errno.EACCES: "this user may not write there", errno.EPERM: "this user may not write there",
              errno.EROFS: "its disk is read-only"}  # fmt: skip


@contextmanager
def folder_to_fill(folder: Path, advice: str = "choose another folder") -> Iterator[Path]:
    """Make a folder, tidy it and try to write into it; folders made here that stay empty are gone afterwards.

    Raises:
        PoseDubError: a file is in the way, the disk is full, or this user may not write there; ends with `advice`.
    """
    made = _missing(folder)
    try:
        try_folder(folder, advice)
        yield folder
    finally:
        _remove_empty(made)


def try_folder(folder: Path, advice: str = "choose another folder") -> None:
    """`folder_to_fill`, for a folder that stays when something can be written into it."""
    made = _missing(folder)
    try:
        with _told(folder, advice):
            folder.mkdir(parents=True, exist_ok=True)
            tidy(folder)
            _try(folder)
    except PoseDubError:
        _remove_empty(made)
        raise


def try_file(path: Path, advice: str = "choose another place") -> None:
    """Raise PoseDubError, ending with `advice`, unless a file can be written, or written anew, at `path`."""
    with _told(path.parent, advice):
        if not path.parent.exists():
            sentence = f"There is no folder {path.parent} to write {path.name} to; make it, or {advice}."
            raise PoseDubError(sentence, ErrorKind.NOT_FOUND)
        if path.is_dir():
            raise PoseDubError(f"{path} is a folder, where a file is to be written; {advice}.")
        if path.exists() and not path.is_file():  # a pipe, or a terminal
            return
        tidy(path.parent)
        _try(path.parent)
        with naming(path), suppress(FileNotFoundError):
            path.lstat()  # a name that is too long


def check_readable(path: Path) -> None:
    """Raise PoseDubError unless `path` is a file that can be read, more than once and from anywhere."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise PoseDubError(
                f"{path} is no regular file but a pipe or a device; save what it holds to a file and name that."
            )
        with path.open("rb"):
            return
    except OSError as error:
        kind = ErrorKind.NOT_FOUND if isinstance(error, FileNotFoundError) else ErrorKind.INVALID
        raise PoseDubError(f"{path} cannot be read ({error.strerror}); check the path.", kind) from error


def _missing(folder: Path) -> list[Path]:
    """The folders that making this one will make, innermost first."""
    missing = []
    while not os.path.lexists(folder) and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _try(folder: Path) -> None:
    trial = part_of(folder / "trial")
    try:
        with naming(folder), trial.open("wb") as file:
            file.write(bytes(_TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            trial.unlink()


@contextmanager
def _told(folder: Path, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PoseDubError(_sentence(folder, error, advice), ErrorKind.UNSUPPORTED) from error


def _sentence(folder: Path, error: OSError, advice: str) -> str:
    if error.errno in _IN_THE_WAY:
        return f"{_obstacle(folder)} is a file, where a folder is needed; {advice}."
    if error.errno in _FORBIDDEN:
        return f"The folder {folder} cannot be written to: {_FORBIDDEN[error.errno]}; {advice}."
    known = explained(error)
    if known and known.kind is ErrorKind.TOO_LARGE:
        return known.message
    return f"The folder {folder} cannot be written to ({error.strerror}); {advice}."


def _obstacle(folder: Path) -> Path:
    """What is no folder, among a folder and those it lies in."""
    for one in (folder, *folder.parents):
        if os.path.lexists(one):
            return one
    return folder
