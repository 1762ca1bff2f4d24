"""What is checked of a file before anything in it is read."""

from __future__ import annotations

from pathlib import Path

from model_server.errors import ErrorKind, PoseDubError


def check_file(path: Path) -> None:
    """Raise PoseDubError unless `path` is a file with content."""
    if not path.is_file():
        raise PoseDubError(f"The file {path.name} is missing; restore it or choose another.", ErrorKind.NOT_FOUND)
    if path.stat().st_size == 0:
        raise PoseDubError(f"The file {path.name} is empty; export or copy it again.")
