"""What a computer refuses a program: memory, space, permission. One sentence each, wherever work can fail."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model_server.errors import ErrorKind, PoseDubError

NO_MEMORY = "The memory of this computer is used up; close other programs or choose smaller pictures, then try again."
NO_GPU_MEMORY = (
    "The memory of the graphics card is used up; close other programs that use it or choose the device cpu, then try "
    "again."
)
_MEMORY_SIGNS = (
    "out of memory",
    "cannot allocate memory",
    "can't allocate memory",
    "unable to allocate",
    "failed to allocate",
    "allocatetensors",
    "failed to map segment",
    "insufficient memory",
    "bad_alloc",
    "bad allocation",
    "can't start new thread",
)
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FULL_SIGNS = (os.strerror(errno.ENOSPC), "disk is full")
_CROWDED = {errno.EMFILE, errno.ENFILE}


def explained(error: BaseException) -> PoseDubError | None:
    """The sentence for an error that came from outside the program, itself if it is one; None for any other.

    Whoever finds a file damaged because memory ran out while it was read says so in good faith: the cause counts.
    """
    causes = list(_causes(error, lambda one: one.__cause__))
    memory = next(filter(out_of_memory, _causes(error, lambda one: one.__cause__ or one.__context__)), None)
    stated = next((cause for cause in causes if isinstance(cause, PoseDubError)), None)
    if memory and not (stated and stated.kind is ErrorKind.TOO_LARGE):
        return PoseDubError(NO_GPU_MEMORY if "cuda" in str(memory).lower() else NO_MEMORY, ErrorKind.TOO_LARGE)
    return stated or next(filter(None, map(_refused, causes)), None)


def out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory: Python's, a library's, a graphics card's, or none for a helper process.

    Torch, OpenCV, FFmpeg and safetensors have no common error for it, so that their words must tell.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    if type(error).__name__ == "BrokenProcessPool":  # the system ends the largest process when memory runs out
        return True
    return not isinstance(error, PoseDubError) and any(sign in str(error).lower() for sign in _MEMORY_SIGNS)


def _causes(
    error: BaseException | None, cause: Callable[[BaseException], BaseException | None]
) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = cause(error)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system that name no file name `path`; those of writing to an open file do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _refused(error: BaseException) -> PoseDubError | None:
    """The sentence for a file or disk that the system refuses, None for other errors."""
    reason, number = getattr(error, "strerror", None) or str(error), getattr(error, "errno", None)
    place = os.fsdecode(getattr(error, "filename", None) or "")
    if isinstance(error, sqlite3.DatabaseError):
        place = "the data folder"
    if number in _FULL or any(sign in reason for sign in _FULL_SIGNS):
        disk = f"The disk of {place}" if place else "The disk"
        sentence = f"{disk} is full; free some space and try again: what is finished is kept."
        return PoseDubError(sentence, ErrorKind.TOO_LARGE)
    if isinstance(error, sqlite3.DatabaseError):
        return PoseDubError(f"The list of jobs in the data folder cannot be used ({reason}); choose another --data.")
    if not isinstance(error, OSError):
        return None
    if number in _CROWDED:
        return PoseDubError("Too many files are open; close other programs or raise the limit (`ulimit -n`).")
    if place:
        return PoseDubError(f"{place} cannot be used ({reason}); check the path and its permissions.")
    return PoseDubError(f"A file cannot be read or written ({reason}); check the folders in use.")
