"""The one error type that reaches a user: one sentence and what to do about it."""

from __future__ import annotations

from enum import Enum


class ErrorKind(Enum):
    """What went wrong, in the terms of gRPC's status codes."""

    INVALID = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    UNSUPPORTED = "FAILED_PRECONDITION"
    TOO_LARGE = "RESOURCE_EXHAUSTED"
    DENIED = "UNAUTHENTICATED"
    CANCELLED = "CANCELLED"
    UNAVAILABLE = "UNAVAILABLE"
    CORRUPT = "DATA_LOSS"


class PoseDubError(Exception):
    """A problem stated in one sentence: what is wrong, where, and what to do.

    Args:
        message: the sentence, ready to be shown to an editor.
        kind: class of the problem; decides the gRPC status.
    """

    def __init__(self, message: str, kind: ErrorKind = ErrorKind.INVALID) -> None:
        # A file's name may hold bytes that are no text; what stores or sends the sentence takes text only.
        self.message = message.encode(errors="backslashreplace").decode()
        super().__init__(self.message)
        self.kind = kind


def first_line(error: BaseException) -> str:
    """What an error of a library says, on one line; the kind of error where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
