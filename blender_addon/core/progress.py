"""Progress as text: how far, how fast, how long still."""

from __future__ import annotations

from collections import deque
from statistics import median

RECENT = 24


class ProgressMeter:
    """Speed of one job from the median time of its recent frames.

    The clock is passed in: seconds of any monotonic clock.
    """

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        self._times: deque[float] = deque(maxlen=RECENT)

    def note(self, done: int, now: float) -> None:
        """Take note that `done` frames are done; going back starts over."""
        if self._last is None or done < self._last[0]:
            self._last = (done, now)
            self._times.clear()
        elif done > self._last[0]:
            frames, seconds = done - self._last[0], now - self._last[1]
            self._times.extend([seconds / frames] * min(frames, RECENT))
            self._last = (done, now)

    @property
    def fps(self) -> float | None:
        """Frames per second; None while unknown."""
        seconds = median(self._times) if self._times else 0.0
        return 1 / seconds if seconds > 0 else None

    def seconds_left(self, total: int, now: float) -> float | None:
        """Seconds until `total` frames are done; None while unknown."""
        if self.fps is None or self._last is None:
            return None
        return max(0.0, (total - self._last[0]) / self.fps - (now - self._last[1]))

    def text(self, total: int, now: float) -> str:
        """`312/1480 - 41 fps - 0:28 left`, as far as it is known."""
        done = self._last[0] if self._last else 0
        left, fps = self.seconds_left(total, now), self.fps
        if fps is None or left is None:
            return f"{done}/{total}"
        return f"{done}/{total} - {_rate(fps)} fps - {duration(left)} left"


def duration(seconds: float) -> str:
    """M:SS, or H:MM:SS from an hour on; begun seconds count."""
    whole = int(-(-seconds // 1))
    hours, minutes = whole // 3600, whole // 60 % 60
    clock = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{clock}:{whole % 60:02}"


def _rate(fps: float) -> str:
    return f"{fps:.0f}" if fps >= 9.95 else f"{fps:.1f}" if fps >= 0.095 else f"{fps:.2g}"
