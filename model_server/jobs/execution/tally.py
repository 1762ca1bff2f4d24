"""What a server has done since its start, for whoever watches over it."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts that threads may share.

    Attributes:
        drawn, reused: frames committed that networks drew, and that were known already.
        ended: jobs by the state they ended in.
        errors: problems of jobs and calls by kind, those of `ErrorKind` and "INTERNAL".
    """

    drawn: int = 0
    reused: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def committed(self, drawn: int, reused: int) -> None:
        """Frames became readable."""
        with self._lock:
            self.drawn += drawn
            self.reused += reused

    def end(self, state: str) -> None:
        """A job ended."""
        with self._lock:
            self.ended[state] += 1

    def error(self, kind: str) -> None:
        """A job or a call failed."""
        with self._lock:
            self.errors[kind] += 1
