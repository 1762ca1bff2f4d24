"""How long Blender's user interface stands still: the gaps between the beats of a fast timer."""

import time

import bpy

PERIOD = 0.005


class Heartbeat:
    """Gaps between beats, by phase of the run; an editor feels a gap as a stall."""

    def __init__(self):
        self.phase = "start"
        self.gaps = {}
        self.pumps = []
        self._last = time.monotonic()
        bpy.app.timers.register(self._beat, persistent=True)

    def _beat(self):
        now = time.monotonic()
        self.gaps.setdefault(self.phase, []).append(now - self._last)
        self._last = now
        return PERIOD

    def enter(self, phase):
        """Count the gaps from now on for this phase."""
        self._beat()
        self.phase = phase

    def time_pump(self, pump):
        """Measure the add-on's share too: the calls of its `pump`."""
        inner = pump.pump

        def timed(*arguments):
            began = time.monotonic()
            try:
                return inner(*arguments)
            finally:
                if self.phase == "job":
                    self.pumps.append(time.monotonic() - began)

        pump.pump = timed

    def figures(self):
        """Milliseconds by phase, and of the add-on's own share while a job ran."""
        return {phase: _figures(gaps) for phase, gaps in self.gaps.items()} | {"pump": _figures(self.pumps)}


def _figures(seconds):
    ordered = sorted(seconds) or [0.0]
    return {
        "count": len(seconds),
        "median_ms": round(ordered[len(ordered) // 2] * 1000, 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
        "longest_ms": round(ordered[-1] * 1000, 1),
    }
