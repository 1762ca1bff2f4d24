"""The add-on's one error type: a sentence for the editor, and what to do about it."""

from __future__ import annotations

TRANSIENT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


class AddonError(Exception):
    """A problem as the editor reads it.

    Args:
        message: one sentence: what is wrong and where.
        hint: what to do about it; "" when the message says so itself.
        code: name of the gRPC status it came from, "" for a problem on this side.
    """

    def __init__(self, message: str, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.code in TRANSIENT

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()
