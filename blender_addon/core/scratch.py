"""Temporary folders that say whose they are, so that those of a Blender that was killed can be told and tidied."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import socket
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "posedub-blender-"
_OWNED = re.compile(PREFIX + r"([0-9a-f]{8})-([0-9]+)-([0-9]+)-.*", re.DOTALL)
_QUERY, _RUNNING = 0x1000, 259


def make_folder() -> Path:
    """A new folder among the system's temporary ones; raises OSError."""
    pid = os.getpid()
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{_computer()}-{pid}-{born(pid) or 0}-"))


@contextmanager
def folder() -> Iterator[Path]:
    """`make_folder`, gone when the block ends."""
    made = make_folder()
    try:
        yield made
    finally:
        remove(made)


def remove(folder: Path) -> None:
    """Delete a folder with all it holds; what is in use stays until the next `tidy`."""
    shutil.rmtree(folder, ignore_errors=True)


def tidy() -> None:
    """Delete what processes of this computer that have ended left among the temporary folders."""
    with suppress(OSError):
        for entry in list(os.scandir(tempfile.gettempdir())):
            owned = _OWNED.fullmatch(entry.name)
            if owned and owned[1] == _computer() and str(born(int(owned[2]))) != owned[3]:
                remove(Path(entry.path))


def _computer() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def born(pid: int) -> int | None:
    """When a process began, None when there is none; on systems that do not say it simply, 0."""
    if sys.platform == "win32":
        return 0 if _lives_on_windows(pid) else None
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if state in "ZX" else int(numbers[18])
    except OSError:
        return _signalled(pid)


def _signalled(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # it is somebody else's
        pass
    return 0


def _lives_on_windows(pid: int) -> bool:
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    handle, code = kernel.OpenProcess(_QUERY, False, pid), ctypes.c_ulong()
    if not handle:
        return False
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == _RUNNING
