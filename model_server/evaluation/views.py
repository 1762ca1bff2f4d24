"""Pictures kept on disk, so that a clip of any length takes constant memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_server.features import CROP_SIDE as SIDE

BATCH = 16

Pictures = NDArray[np.uint8]


class Film(Protocol):
    """Anything of `count` network views."""

    @property
    def count(self) -> int:
        """How many."""
        ...

    def views(self, first: int, end: int) -> Pictures:
        """Views `first <= k < end`, (n, 224, 224, 3)."""
        ...


class ViewStore:
    """Network views (224, 224, 3), uint8 RGB, appended to a file and read back by index.

    Attributes:
        count: views stored.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the store
        self.count = 0

    @classmethod
    def of(cls, folder: Path, batches: Iterable[Pictures]) -> ViewStore:
        """A store of all these batches."""
        store = cls(folder)
        for batch in batches:
            store.append(batch)
        return store

    def append(self, views: Pictures) -> None:
        """Add views (n, 224, 224, 3) at the end."""
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(views).tobytes())
        self.count += len(views)

    def views(self, first: int, end: int) -> Pictures:
        """Views `first <= k < end`, (n, 224, 224, 3)."""
        size = SIDE * SIDE * 3
        self._file.seek(first * size)
        data = self._file.read((end - first) * size)
        return np.frombuffer(data, np.uint8).reshape(-1, SIDE, SIDE, 3)


def batches(count: int, size: int = BATCH) -> Iterator[tuple[int, int]]:
    """Ranges (first, end) that cover `count` in order."""
    for first in range(0, count, size):
        yield first, min(first + size, count)
