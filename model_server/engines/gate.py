"""Who may use an engine next."""

from __future__ import annotations

import threading


class Gate:
    """A lock that lets callers through in the order in which they came.

    A plain lock may go back to the thread that has just released it, time after time; here a question asked beside a
    long job waits for the batch at work and no longer.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._tickets = 0
        self._turn = 0

    def __enter__(self) -> None:
        with self._condition:
            ticket, self._tickets = self._tickets, self._tickets + 1
            self._condition.wait_for(lambda: self._turn == ticket)

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._turn += 1
            self._condition.notify_all()
