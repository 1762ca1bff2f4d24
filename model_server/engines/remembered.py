"""Rows that come again, such as the speech of a dub whose pose was edited, are encoded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Speech contents of some three minutes at 25 frames a second, 8 MB.
KEPT = 4096


class RememberedRows:
    """Results of an encoder, by what its rows hold. One caller at a time.

    Args:
        encode: maps rows (n, ...) to results (n, ...), n >= 1, each of its own row alone.
        kept: how many results; those used longest ago go first.
    """

    def __init__(self, encode: Callable[[NDArray[np.float32]], Tensor], kept: int = KEPT) -> None:
        self._encode = encode
        self._kept = kept
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()

    def __call__(self, rows: NDArray[np.float32]) -> Tensor:
        """Results (n, ...) of rows (n, ...)."""
        keys = [blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
        new = [n for n, key in enumerate(keys) if key not in self._known]
        made = dict(zip((keys[n] for n in new), self._encode(rows[new]) if new else (), strict=True))
        found = torch.stack([made[key] if key in made else self._known[key] for key in keys])
        for key, result in zip(keys, found, strict=True):
            self._known[key] = result.clone()  # a view would keep all of them
            self._known.move_to_end(key)
        while len(self._known) > self._kept:
            self._known.popitem(last=False)
        return found
