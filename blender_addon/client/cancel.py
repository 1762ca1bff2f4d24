"""Cancellation that also wakes whatever a thread is blocked in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancelled(Exception):
    """The work was given up on request."""


class CancelToken:
    """Set once, from any thread; a blocked call is woken by the function it registered."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], object]] = []

    def set(self) -> None:
        """Give up: wake everything that waits."""
        with self._lock:
            self._event.set()
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    @property
    def is_set(self) -> bool:
        """Whether the work was given up."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Cancelled when set."""
        if self.is_set:
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Pause; raises Cancelled as soon as it is set."""
        self._event.wait(seconds)
        self.check()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call `wake` if the token is set within the block; raises Cancelled when it is set already."""
        with self._lock:
            self.check()
            self._wakers.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)
