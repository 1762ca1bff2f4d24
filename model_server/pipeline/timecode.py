"""Time as editors write it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def frames_text(count: int) -> str:
    """A number of frames in a sentence."""
    return "1 frame" if count == 1 else f"{count} frames"


def timecode(index: int, fps: Fraction) -> str:
    """HH:MM:SS:FF of a frame counted from 0, without dropped numbers."""
    second, frame = divmod(index, max(round(fps), 1))
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}:{frame:02}"


def average_rate(times: Sequence[Fraction], duration: Fraction) -> Fraction:
    """Frames per second of footage with the given presentation times; 25 for a still picture."""
    return len(times) / duration if duration > 0 else Fraction(25)
