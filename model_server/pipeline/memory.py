"""Values that are dear to make and wanted again soon, such as a decoded speech or a portrait's identity."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memory:
    """The values used last, by key, for any thread.

    Args:
        kept: how many; the one used longest ago goes first.
    """

    def __init__(self, kept: int = 8) -> None:
        self._kept = kept
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made now if it is not there; who asks meanwhile waits for it."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
            self._values.move_to_end(key)
            while len(self._values) > self._kept:
                self._values.popitem(last=False)
            return self._values[key]
