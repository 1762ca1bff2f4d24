"""Threads that run networks side by side, each on one processor.

Two processors that share the work of one small picture wait for each other at every layer, and wait long when another
program wants one of them. With a picture each they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class ThreadPool:
    """A fixed number of threads.

    Args:
        size: of the crew; with one there are no threads, and the caller works.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        processors = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(size, "draw", _on_one_processor) if size > 1 else None
        if self._pool:
            everybody = Barrier(size)
            try:
                list(self._pool.map(lambda _: everybody.wait(), range(size)))
            except BaseException:  # one could not begin for lack of memory, and the others wait for it
                everybody.abort()
                raise
            # What a thread sets, threads to come take over. All of the crew have begun; others shall not.
            torch.set_num_threads(processors)

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`work` of each item, in order."""
        return list(self._pool.map(work, items) if self._pool else map(work, items))


def _on_one_processor() -> None:
    torch.get_num_threads()  # the first call in a thread takes the number over, and would do so later
    torch.set_num_threads(1)
