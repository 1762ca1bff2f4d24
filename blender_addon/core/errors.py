"""The add-on's one error type: a sentence for the editor, and what to do about it."""

from __future__ import annotations

import errno

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


def told(what: str, error: BaseException) -> AddonError:
    """The error when it is a sentence already, else the one that `unexpected` makes of it."""
    return error if isinstance(error, AddonError) else unexpected(what, error)


def unexpected(what: str, error: BaseException) -> AddonError:
    """The sentence for an error that nobody foresaw; says what the computer lacks where that is the cause.

    Args:
        what: what failed, without a full stop.
    """
    number = getattr(error, "errno", None)
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return AddonError(f"{what}: the memory of this computer is used up.", "Close other programs and try again.")
    if isinstance(error, OSError):
        place, reason = error.filename or "a file", error.strerror or error
        return AddonError(f"{what}: {place} cannot be used ({reason}).", "Check the folder and the disk's free space.")
    return AddonError(f"{what}: {error!r}.", "See Blender's console.")
