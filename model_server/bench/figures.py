"""Measured figures: repeated values, times by stage, and rows that set the two paths side by side."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

FRAME_RATE = "frames/s"


@dataclass(frozen=True)
class Spread:
    """One figure measured several times, in the order of measurement."""

    values: tuple[float, ...]

    @property
    def minimum(self) -> float:
        """Smallest value."""
        return min(self.values)

    @property
    def median(self) -> float:
        """Middle value."""
        return statistics.median(self.values)

    @property
    def maximum(self) -> float:
        """Largest value."""
        return max(self.values)


@dataclass(frozen=True)
class Row:
    """One figure of the report.

    Attributes:
        group: what it belongs to, such as a preset.
        unit: of the values; frame rates are better when larger, all else that has a reference when smaller.
        fast: what the server's own code reaches.
        reference: what the direct implementation reaches in the same repeats, where it does this at all.
    """

    group: str
    name: str
    unit: str
    fast: Spread
    reference: Spread | None = None

    @property
    def speedup(self) -> float | None:
        """How many times faster the fast path is: the ratio of the medians."""
        return None if self.reference is None else self._times(self.fast.median, self.reference.median)

    @property
    def speedups(self) -> Spread | None:
        """The same for each pair of repeats, which ran one after the other."""
        if self.reference is None:
            return None
        pairs = zip(self.fast.values, self.reference.values, strict=True)
        return Spread(tuple(self._times(fast, slow) for fast, slow in pairs))

    def _times(self, fast: float, slow: float) -> float:
        return fast / slow if self.unit == FRAME_RATE else slow / fast


def figure(group: str, name: str, unit: str, *values: float) -> Row:
    """A row without a reference."""
    return Row(group, name, unit, Spread(values))


class Stopwatch:
    """Seconds by stage; a GPU finishes what it was given before a stage begins and before it ends."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block and add it to what the stage has taken."""
        start = self._now()
        try:
            yield
        finally:
            self.seconds[name] += self._now() - start

    def _now(self) -> float:
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()
        return perf_counter()
