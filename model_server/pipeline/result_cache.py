"""ResultCache made before, found again by a key of everything they depend on."""

from __future__ import annotations

import hashlib
from typing import Protocol


class ResultCache(Protocol):
    """Where frames and pose codes made before are looked up, by key."""

    def result(self, key: str) -> str | None:
        """Blob of a result, or None."""

    def keep(self, key: str, content: bytes) -> str:
        """Store a result and return its blob."""

    def read(self, sha: str) -> bytes:
        """Content of a blob."""


class NotStored(Exception):
    """Something that was not made before was asked for where nothing may be made; says what."""


class OnlyStored:
    """Earlier results, where a missing one raises NotStored."""

    def __init__(self, results: ResultCache, what: str) -> None:
        self._results = results
        self._what = what
        self.read = results.read
        self.keep = results.keep

    def result(self, key: str) -> str:
        """Blob of a result."""
        blob = self._results.result(key)
        if blob is None:
            raise NotStored(self._what)
        return blob


def digest(*parts: bytes | str) -> str:
    """SHA-256 over parts, each with its length, so that none can pass for another."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()
