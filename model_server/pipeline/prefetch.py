"""Work done before it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from queue import Empty, Queue
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.01


def prefetch(items: Generator[T], count: int) -> Generator[T]:
    """The same items; up to `count` of them are made in a thread while the caller is busy with earlier ones.

    What making them raises, the caller meets in its place. A caller that stops early closes `items` after the step
    at hand.
    """
    made: Queue[tuple[T, ...]] = Queue(count)
    unwanted = threading.Event()
    with ThreadPoolExecutor(1, "prefetch") as pool:
        maker = pool.submit(copy_context().run, _make, items, made, unwanted)
        try:
            while item := made.get():
                yield item[0]
            maker.result()
        finally:
            unwanted.set()
            while not maker.done():
                with suppress(Empty):  # a full queue would hold the thread
                    made.get(timeout=_POLL_SECONDS)


def _make(items: Generator[T], made: Queue[tuple[T, ...]], unwanted: threading.Event) -> None:
    """Put each item into the queue, and at last an empty tuple."""
    try:
        with closing(items):
            for item in items:
                made.put((item,))
                if unwanted.is_set():
                    break
    finally:
        made.put(())
