"""Loops compiled by Numba, where it can compile, and kept for the next process."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from numba import config, njit

from model_server.networks.cpu import simd, toom_cook

# Where Numba cannot compile, plain convolutions do the work.
AVAILABLE = not config.DISABLE_JIT  # type: ignore[attr-defined]
_SHARED = [Path(str(module.__file__)) for module in (simd, toom_cook)]
"""What the loops of all files are made of."""
_sources = set(_SHARED)


def compiled(function: Callable) -> Callable:
    """The function compiled by Numba, kept for the next process; as it is where Numba does not compile."""
    file = Path(function.__code__.co_filename)
    _sources.add(file)
    _renew(file)
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # there is no folder to keep it in
        return njit(nogil=True)(function)


def compiled_part(function: Callable) -> Callable:
    """What compiled functions of the same file call, kept as a part of them."""
    alone = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # nothing else calls them
    return njit(nogil=True, **alone)(function)  # type: ignore[call-overload]


def _renew(file: Path) -> None:
    """Numba compiles anew when a loop's own file is; it shall be no older than what all loops are made of."""
    with suppress(OSError):
        if file.stat().st_mtime < max(part.stat().st_mtime for part in _SHARED):
            os.utime(file)


def sources() -> list[Path]:
    """Files that loops compiled so far are made of."""
    return sorted(_sources)
