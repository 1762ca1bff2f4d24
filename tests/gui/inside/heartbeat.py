"""How long Blender's user interface stands still: the gaps between the beats of a fast timer."""

import time

import bpy

PERIOD = 0.005


def clocks():
    """Seconds on the clock, and of the processor in this thread: what the gap would be on an idle machine, at least."""
    return time.monotonic(), time.thread_time()


def since(began):
    """What both clocks advanced."""
    return tuple(now - then for now, then in zip(clocks(), began, strict=True))


class Heartbeat:
    """Gaps between beats, by phase of the run; an editor feels a gap as a stall."""

    def __init__(self):
        self.phase = "start"
        self.gaps = {}
        self._last = clocks()
        bpy.app.timers.register(self._beat, persistent=True)

    def _beat(self):
        self.gaps.setdefault(self.phase, []).append(since(self._last))
        self._last = clocks()
        return PERIOD

    def enter(self, phase):
        """Count the gaps from now on for this phase."""
        self._beat()
        self.phase = phase

    def time_pump(self, pump):
        """Measure the add-on's share too: the calls of its `pump` while a job runs."""
        inner = pump.pump

        def timed(*arguments):
            began = clocks()
            try:
                return inner(*arguments)
            finally:
                if self.phase == "job":
                    self.gaps.setdefault("pump in job", []).append(since(began))

        pump.pump = timed

    def figures(self):
        """Milliseconds by phase."""
        return {phase: _figures(gaps) for phase, gaps in self.gaps.items()}


def _figures(gaps):
    clock, processor = (sorted(times) for times in zip(*gaps, strict=True))
    return {
        "count": len(gaps),
        "median_ms": _ms(clock[len(clock) // 2]),
        "p99_ms": _ms(clock[int(len(clock) * 0.99)]),
        "longest_ms": _ms(clock[-1]),
        "longest_processor_ms": _ms(processor[-1]),
    }


def _ms(seconds):
    return round(seconds * 1000, 1)
