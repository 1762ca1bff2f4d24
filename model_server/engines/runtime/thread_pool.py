"""Threads that run networks side by side, each on one processor.

Two processors that share the work of one small picture wait for each other at every layer, and wait long when another
program wants one of them. With a picture each they do not. And the order of a sum, so its last bits, depends on how
many processors share it: on one each, a frame is the same on computers of any size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
# While a crew begins, other threads that begin are told of one processor.
_beginning = threading.Lock()


class ThreadPool:
    """A fixed number of threads.

    Args:
        size: of the crew; without one the caller works, as befits work that a GPU does.
    """

    def __init__(self, size: int) -> None:
        self.size = max(size, 1)
        self._pool = _alone(partial(_crew, size)) if size else None

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`work` of each item, in order."""
        return list(self._pool.map(work, items) if self._pool else map(work, items))

    def run(self, work: Callable[[], Result]) -> Result:
        """`work` in a thread of the crew; none of them may call this."""
        return self._pool.submit(work).result() if self._pool else work()


def crew_for(device: str) -> ThreadPool:
    """A thread for each processor that this process may use, where the processors do the work."""
    return ThreadPool(_alone(torch.get_num_threads) if device == "cpu" else 0)


def _alone(work: Callable[[], Result]) -> Result:
    """`work` in a fresh thread, which knows the process's number of processors, while no crew begins elsewhere."""
    with _beginning, ThreadPoolExecutor(1) as fresh:
        return fresh.submit(work).result()


def _crew(size: int) -> ThreadPoolExecutor:
    processors = torch.get_num_threads()
    pool, everybody = ThreadPoolExecutor(size, "draw", _on_one_processor), Barrier(size)
    try:
        list(pool.map(lambda _: everybody.wait(), range(size)))
    except BaseException:  # one could not begin for lack of memory, and the others wait for it
        everybody.abort()
        raise
    finally:
        # What a thread sets, threads to come take over. All of the crew have begun; others shall not.
        torch.set_num_threads(processors)
    return pool


def _on_one_processor() -> None:
    torch.get_num_threads()  # the first call in a thread takes the number over, and would do so later
    torch.set_num_threads(1)
