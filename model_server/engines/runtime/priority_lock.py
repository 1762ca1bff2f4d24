"""Who may use an engine next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
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


def in_a_hurry() -> bool:
    """Whether the caller is in such a block."""
    return _hurried.get()


class PriorityLock:
    """A lock that lets callers through in the order in which they came, those in a hurry before all others.

    A plain lock may go back to the thread that has just released it, time after time; here jobs side by side take
    turns, and a question asked beside them waits for what is being drawn and no longer.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._taken = False
        self._in_hurry: deque[object] = deque()
        self._waiting: deque[object] = deque()

    def __enter__(self) -> None:
        queue = self._in_hurry if _hurried.get() else self._waiting
        self._wait_in(queue, queue.append)

    def wanted(self) -> bool:
        """Whether somebody in a hurry waits."""
        return bool(self._in_hurry)

    def give_way(self) -> None:
        """Between two steps of a caller's turn, let those in a hurry through."""
        if self._in_hurry and not in_a_hurry():
            self.__exit__()
            self._wait_in(self._waiting, self._waiting.appendleft)

    def _wait_in(self, queue: deque[object], join: Callable[[object], None]) -> None:
        ticket = object()
        with self._condition:
            join(ticket)
            self._condition.wait_for(lambda: not self._taken and self._next() is ticket)
            queue.popleft()
            self._taken = True

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._taken = False
            self._condition.notify_all()

    def _next(self) -> object:
        return (self._in_hurry or self._waiting)[0]
