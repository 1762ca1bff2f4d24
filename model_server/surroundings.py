"""What a computer refuses a program: memory, space, permission. One sentence each, wherever work can fail."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
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
    "failed to map segment",
    "insufficient memory",
    "bad_alloc",
    "bad allocation",
    "can't start new thread",
)
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_CROWDED = {errno.EMFILE, errno.ENFILE}


def explained(error: BaseException) -> PoseDubError | None:
    """The sentence for an error that came from outside the program, itself if it is one; None for any other."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PoseDubError):
            return cause
        if out_of_memory(cause):
            on_card = "cuda" in str(cause).lower()
            return PoseDubError(NO_GPU_MEMORY if on_card else NO_MEMORY, ErrorKind.TOO_LARGE)
        if isinstance(cause, OSError | sqlite3.DatabaseError):
            return _refused(cause)
        cause = cause.__cause__
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory: Python's, a library's, a graphics card's, or none for a helper process.

    Torch, OpenCV and FFmpeg have no common error for it, so that their words must tell.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    if type(error).__name__ == "BrokenProcessPool":  # the system ends the largest process when memory runs out
        return True
    told = isinstance(error, RuntimeError | OSError | ImportError) or type(error).__module__.startswith("cv2")
    return told and any(sign in str(error).lower() for sign in _MEMORY_SIGNS)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system that name no file name `path`; those of writing to an open file do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _refused(error: OSError | sqlite3.DatabaseError) -> PoseDubError:
    place = os.fsdecode(getattr(error, "filename", None) or "")
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) in _FULL or "is full" in reason:
        disk = f"The disk of {place}" if place else "The disk"
        return PoseDubError(f"{disk} is full; free some space and try again.", ErrorKind.TOO_LARGE)
    if getattr(error, "errno", None) in _CROWDED:
        return PoseDubError("Too many files are open; close other programs or raise the limit (`ulimit -n`).")
    if isinstance(error, sqlite3.DatabaseError):
        return PoseDubError(f"The list of jobs in the data folder cannot be used ({reason}); choose another --data.")
    if place:
        return PoseDubError(f"{place} cannot be used ({reason}); check the path and its permissions.")
    return PoseDubError(f"A file cannot be read or written ({reason}); check the folders in use.")
