"""Where a dub is written: tried before the work, by one dub at a time, never over what no dub wrote."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from model_server.cli.frames_folder import ADVICE
from model_server.cli.options import cache_folder, is_movie
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.movies.writer import is_dub
from model_server.places import folder_to_fill, try_file


@contextmanager
def tried(out: Path, data: Path | None = None) -> Iterator[None]:
    """The place of a movie or of frames, tried, and kept from other commands; folders made here that stay empty go.

    Args:
        data: the folder of --data, None for the user's own.

    Raises:
        PoseDubError: nothing can be written there, a movie there is no dub, or another command writes there now.
    """
    with _alone(out, data), ExitStack() as made:
        if not is_movie(out):
            made.enter_context(folder_to_fill(out, ADVICE))
        else:
            if not out.parent.exists():
                made.enter_context(folder_to_fill(out.parent, ADVICE))
            try_file(out, ADVICE)
            _check_movie(out)
        yield


@contextmanager
def _alone(out: Path, data: Path | None) -> Iterator[None]:
    """Hold a lock, which ends with the process, outside of the place itself; none where this user may write nowhere."""
    folder = cache_folder(data) / "targets"
    place = os.path.normcase(os.path.realpath(out))
    lock = FileLock(folder / f"{hashlib.sha256(os.fsencode(place)).hexdigest()}.lock")
    try:
        with suppress(PermissionError):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout as error:
        raise PoseDubError(
            f"Another dub is being written to {out}; wait until it is done, or {ADVICE}.", ErrorKind.UNAVAILABLE
        ) from error
    try:
        yield
    finally:
        lock.release()


def _check_movie(path: Path) -> None:
    if path.is_file() and not is_dub(path):
        raise PoseDubError(
            f"The file {path} is there already and no dub of this command, which would replace it; {ADVICE}."
        )
