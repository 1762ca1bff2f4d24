"""Rows that come again, such as the speech of a dub whose pose was edited, are encoded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Speech contents of some three minutes at 25 frames a second, 8 MB.
KEPT = 4096


class RowCache:
    """Results of an encoder, by what its rows hold. One caller at a time.

    All lie in one piece of memory: small pieces between an encoder's large ones would keep those from being given back.

    Args:
        encode: maps rows (n, ...) to results (n, size), n >= 1, each of its own row alone.
        kept: how many results; those used longest ago go first.
    """

    def __init__(self, encode: Callable[[NDArray[np.float32]], Tensor], kept: int = KEPT) -> None:
        self._encode = encode
        self._kept = kept
        self._places: OrderedDict[bytes, int] = OrderedDict()
        self._results: Tensor | None = None

    def __call__(self, rows: NDArray[np.float32]) -> Tensor:
        """Results (n, size) of rows (n, ...)."""
        if len(rows) > self._kept:
            return self._encode(rows)
        keys = [blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
        for known in filter(self._places.__contains__, keys):
            self._places.move_to_end(known)
        if new := {key: n for n, key in enumerate(keys) if key not in self._places}:
            self._keep(list(new), self._encode(rows[list(new.values())]))
        assert self._results is not None
        return self._results[[self._places[key] for key in keys]]

    def _keep(self, keys: list[bytes], results: Tensor) -> None:
        if self._results is None:
            self._results = results.new_empty(self._kept, results.shape[1])
        for key in keys:
            self._places[key] = self._free_place()
        self._results[[self._places[key] for key in keys]] = results

    def _free_place(self) -> int:
        """One never taken, or that of the key used longest ago."""
        return len(self._places) if len(self._places) < self._kept else self._places.popitem(last=False)[1]


def row_groups(count: int, size: int) -> Iterator[NDArray[np.intp]]:
    """Indices of `size` rows at a time; the last group repeats the last row."""
    for start in range(0, count, size):
        yield np.minimum(np.arange(start, start + size), count - 1)
