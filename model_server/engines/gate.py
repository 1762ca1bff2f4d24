"""Who may use an engine next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_hurried: ContextVar[bool] = ContextVar("hurried", default=False)


@contextmanager
def hurried() -> Iterator[None]:
    """Somebody sits and waits for what the block makes: at a gate it goes before jobs."""
    token = _hurried.set(True)
    try:
        yield
    finally:
        _hurried.reset(token)


class Gate:
    """A lock that lets callers through in the order in which they came, those in a hurry before all others.

    A plain lock may go back to the thread that has just released it, time after time; here jobs side by side take
    turns, and a question asked beside them waits for the batch at work and no longer.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._taken = False
        self._in_hurry: deque[object] = deque()
        self._waiting: deque[object] = deque()

    def __enter__(self) -> None:
        ticket, queue = object(), self._in_hurry if _hurried.get() else self._waiting
        with self._condition:
            queue.append(ticket)
            self._condition.wait_for(lambda: not self._taken and self._next() is ticket)
            queue.popleft()
            self._taken = True

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._taken = False
            self._condition.notify_all()

    def _next(self) -> object:
        return (self._in_hurry or self._waiting)[0]
