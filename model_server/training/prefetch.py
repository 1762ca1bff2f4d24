"""Batches made while the one before them is learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(make: Callable[[int], T], steps: Iterable[int]) -> Iterator[tuple[int, T]]:
    """Each step with what `make` makes of it, the next one being made in a thread meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for step in steps:
            coming = step, pool.submit(make, step)
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = coming
        if waiting:
            yield waiting[0], waiting[1].result()
