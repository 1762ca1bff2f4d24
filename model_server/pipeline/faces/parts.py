"""Numbers of many pictures, each of its picture alone, so that several processes can read a part of them each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.result_cache import ResultCache, digest

Rows = NDArray[np.intp]
# Pictures of a part: a multiple of what networks are given at once, and enough to be worth opening the movie for.
PICTURES = 64


class PartsMissing(Exception):
    """Parts that this process shall not read are not read yet.

    Attributes:
        numbers: theirs.
    """

    def __init__(self, numbers: tuple[int, ...]) -> None:
        super().__init__(f"parts {numbers} are missing")
        self.numbers = numbers


@dataclass(frozen=True)
class Parts:
    """Which parts of something are known, and which of the others are read here.

    Attributes:
        results: where parts are looked up, and kept if there is a share; None where there is only one process.
        key: of everything that the numbers depend on.
        share: the parts to be read here; None for all that are missing.
    """

    results: ResultCache | None = None
    key: str = ""
    share: frozenset[int] | None = None

    def of(self, kind: str, rows: Rows, read: Callable[[Rows], NDArray[Any]]) -> NDArray[Any]:
        """What `read` makes of all rows, one result for each.

        Args:
            kind: tells what is read.
            rows: of pictures, ascending.

        Raises:
            PartsMissing: after its share was read.
        """
        if self.results is None or len(rows) <= PICTURES:
            return read(rows)
        parts = [rows[first : first + PICTURES] for first in range(0, len(rows), PICTURES)]
        known = [self._known(self.results, kind, number) for number in range(len(parts))]
        missing = [number for number, values in enumerate(known) if values is None]
        own = [number for number in missing if self.share is None or number in self.share]
        if own:
            made = read(np.concatenate([parts[number] for number in own]))
            ends = np.cumsum([len(parts[number]) for number in own])[:-1]
            for number, values in zip(own, np.split(made, ends), strict=True):
                known[number] = values
                if self.share is not None:
                    self.results.keep(self._key(kind, number), _packed(values))
        if lacking := tuple(number for number in missing if number not in own):
            raise PartsMissing(lacking)
        return np.concatenate([values for values in known if values is not None])

    def _known(self, results: ResultCache, kind: str, number: int) -> NDArray[Any] | None:
        blob = results.result(self._key(kind, number))
        return np.load(BytesIO(results.read(blob)), allow_pickle=False) if blob else None

    def _key(self, kind: str, number: int) -> str:
        return digest(self.key, kind, str(number))


def _packed(values: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
