"""Values that are dear to make and wanted again soon, such as a decoded speech or a portrait's identity."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class ValueCache:
    """The values used last, by key, for any thread.

    Args:
        kept: how many; the one used longest ago goes first.
    """

    def __init__(self, kept: int = 24) -> None:
        self._kept = kept
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made now if it is not there; who asks for the same meanwhile waits for it."""
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > self._kept:
                self._places.popitem(last=False)
        with place.lock:
            if not place.filled:
                place.value, place.filled = make(), True
            return place.value

    def forget(self, key: Hashable) -> None:
        """Let go of one value."""
        with self._lock:
            self._places.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._places.clear()


@dataclass
class _Place:
    """Where a value is, or will be once somebody has made it."""

    value: Any = None
    filled: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)  # type: ignore[assignment]
