"""When to save, when to report, when to leave."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from model_server.training.distributed import ProcessGroup
from model_server.training.losses import Losses
from model_server.training.run_log import means

FIRST_LOG_SECONDS = 20.0
# Leaving takes the running step, a checkpoint, and a little more.
SPARE_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """When a call leaves although there is more to do.

    Attributes:
        seconds: from the call's start.
        steps: optimiser steps.
    """

    seconds: float = float("inf")
    steps: float = float("inf")


@dataclass(frozen=True)
class Progress:
    """What a caller may show: losses and speed are means since the last report.

    Attributes:
        stage: being trained.
        step: done.
        steps: of the stage.
        samples_per_second: learnt from; for speech recognisers seconds of sound in a second.
        losses: by name.
    """

    stage: str
    step: int
    steps: int
    samples_per_second: float
    losses: dict[str, float]


class Clock:
    """Knows when to save and when to leave."""

    def __init__(self, limits: Limits, every: float) -> None:
        self._start = self._saved = self._last = time.monotonic()
        self._limits, self._every = limits, every
        self._steps, self._longest, self._save_seconds = 0, 0.0, 0.0

    def stepped(self) -> None:
        """Note the end of a step."""
        now = time.monotonic()
        self._steps += 1
        self._longest, self._last = max(self._longest, now - self._last), now

    def over(self, process_group: ProcessGroup) -> bool:
        """Whether it is time to leave, the same answer for the whole process_group."""
        needed = 2 * self._longest + 2 * self._save_seconds + SPARE_SECONDS
        late = time.monotonic() - self._start + needed > self._limits.seconds
        return process_group.any(late or self._steps >= self._limits.steps)

    def checkpoint_due(self) -> bool:
        """Whether the last checkpoint is old."""
        return time.monotonic() - self._saved > self._every

    def goes_on(self, more: bool, process_group: ProcessGroup, save: Callable[[], object]) -> bool:
        """After a step: saves when it is time for that, and to leave; whether the stage may go on.

        Args:
            more: whether there are steps left; after the last one nobody leaves.
        """
        self.stepped()
        leave = self.over(process_group) and more
        if leave or self.checkpoint_due():
            save()
        return not leave

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Context in which a checkpoint is written."""
        start = time.monotonic()
        yield
        self._saved = self._last = time.monotonic()
        self._save_seconds = max(self._save_seconds, self._saved - start)


class Meter:
    """Losses and speed since the last report, which comes every so many steps."""

    def __init__(self, every: int) -> None:
        self._every, self._first = every, True
        self._begin()

    def add(self, losses: Losses, amount: float) -> None:
        """Note a step that learnt from so many samples, or seconds of sound."""
        self._history.append(losses)
        self._amount += amount

    def due(self, step: int) -> bool:
        """Every so many steps, and once soon after the start."""
        early = self._first and time.monotonic() - self._since > FIRST_LOG_SECONDS
        return early or step % self._every == 0

    def read(self) -> tuple[float, dict[str, float]]:
        """Amount learnt from in a second, mean losses; begins anew."""
        losses, rate = means(self._history), self._amount / max(time.monotonic() - self._since, 1e-9)
        self._first = False
        self._begin()
        return rate, losses

    def _begin(self) -> None:
        self._history: list[Losses] = []
        self._amount, self._since = 0.0, time.monotonic()
