"""How long a job waits for a server that went away."""

from __future__ import annotations

import time

from ..core.errors import AddonError
from .cancel import CancelToken

FIRST_CONTACT = 10.0
SHORTEST, LONGEST = 0.2, 5.0


class Backoff:
    """Pauses between attempts, doubling, until nothing got on for too long.

    Args:
        limit: seconds without progress after which the error is final; a server
            that never answered gets 10 at most.
        cancel: ends a pause.
    """

    def __init__(self, limit: float, cancel: CancelToken) -> None:
        self._limit = limit
        self._cancel = cancel
        self._answered = False
        self._stuck_since: float | None = None
        self._pause = SHORTEST

    def answered(self) -> None:
        """The server answered once."""
        self._answered = True

    def progressed(self) -> None:
        """Something got on: begin counting anew."""
        self.answered()
        self._stuck_since, self._pause = None, SHORTEST

    def pause(self, error: AddonError) -> None:
        """Wait before the next attempt; raises `error` when it lasted too long, Cancelled when cancelled."""
        now = time.monotonic()
        if self._stuck_since is None:
            self._stuck_since = now
        limit = self._limit if self._answered else min(self._limit, FIRST_CONTACT)
        if now - self._stuck_since + self._pause > limit:
            raise error
        self._cancel.wait(self._pause)
        self._pause = min(2 * self._pause, LONGEST)
