"""Which process works on a job or a file, and whether it still lives."""

from __future__ import annotations

import os
import re
import socket
import zlib
from functools import cache
from pathlib import Path

import psutil

PATTERN = r"[0-9a-f]{8}-[0-9]+-[0-9]+"


@cache
def this_process() -> str:
    """Name of this process that no later process can bear; fits `PATTERN`."""
    return f"{_computer()}-{os.getpid()}-{_born(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Whether the process named `owner` may still be working; those of other computers count as alive."""
    if not re.fullmatch(PATTERN, owner):
        return True
    computer, pid, born = owner.split("-")
    if computer != _computer():
        return True
    try:
        return _born(int(pid)) == born
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # it lives, and says nothing about itself
        return True


def is_here(owner: str) -> bool:
    """Whether the process named `owner` is, or was, one of this computer."""
    return bool(re.fullmatch(PATTERN, owner)) and owner.split("-")[0] == _computer()


def _computer() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _born(pid: int) -> str:
    """When a process began. Linux counts from the computer's start, where a changed clock changes nothing."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return str(round(psutil.Process(pid).create_time() * 100))
    if state in "ZX":  # it has ended, and its parent has not asked how
        raise psutil.NoSuchProcess(pid)
    return numbers[18]
