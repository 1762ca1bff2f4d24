"""Where a new strip fits on the timeline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import AddonError


@dataclass(frozen=True)
class Span:
    """A strip's place: channel, and the frames start <= f < end."""

    channel: int
    start: int
    end: int


def free_channel(
    occupied: Iterable[Span], start: int, end: int, above: int, locked: Iterable[int] = (), highest: int = 128
) -> int:
    """The lowest unlocked channel over `above` that is empty for start <= f < end.

    Raises:
        AddonError: there is none up to `highest`.
    """
    taken = set(locked) | {span.channel for span in occupied if span.start < end and start < span.end}
    for channel in range(above + 1, highest + 1):
        if channel not in taken:
            return channel
    raise AddonError(
        f"No channel above {above} is free for the dub.", "Unlock or empty a channel, or move the sound strip lower."
    )
