"""How far the setting up of a server is, as text."""

from __future__ import annotations

from dataclasses import dataclass

from .progress import ProgressMeter, duration

PHASES = {
    "preparing": "Preparing",
    "python": "Looking for a Python",
    "resolving": "Asking the package index",
    "downloading": "Downloading",
    "unpacking": "Unpacking",
    "installing": "Installing",
    "trying": "Trying the server out, a minute or less",
    "removing": "Removing",
}
"""In their order."""
MEGABYTE = 10**6


@dataclass(frozen=True)
class SetupProgress:
    """A moment of it; done and total in bytes, 0 where nothing is counted."""

    phase: str = "preparing"
    done: float = 0.0
    total: float = 0.0

    @property
    def share(self) -> float:
        """Of the downloads, in [0, 1]."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def text(self, meter: ProgressMeter, now: float) -> str:
        """`Downloading 210 of 640 MB, 1:20 left`; the meter counts megabytes."""
        if self.phase != "downloading" or not self.total:
            return PHASES[self.phase]
        done, total = int(self.done / MEGABYTE), round(self.total / MEGABYTE)
        meter.note(done, now)
        left = meter.seconds_left(total, now)
        counted = f"Downloading {min(done, total)} of {total} MB"
        return counted if left is None else f"{counted}, {duration(left)} left"
