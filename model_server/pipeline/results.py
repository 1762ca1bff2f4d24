"""Results made before, found again by a key of everything they depend on."""

from __future__ import annotations

import hashlib
from typing import Protocol


class Results(Protocol):
    """Where frames and pose codes made before are looked up, by key."""

    def result(self, key: str) -> str | None:
        """Blob of a result, or None."""

    def keep(self, key: str, content: bytes) -> str:
        """Store a result and return its blob."""

    def read(self, sha: str) -> bytes:
        """Content of a blob."""


def digest(*parts: bytes | str) -> str:
    """SHA-256 over parts, each with its length, so that none can pass for another."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()
