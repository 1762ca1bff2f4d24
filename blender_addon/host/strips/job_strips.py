"""The strips of all jobs: they grow while frames come, and are there again after an undo.

What goes wrong with one job's strip ends that job and no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

from ...core.errors import AddonError
from ...core.events import JobFailed
from ...core.jobs import UNFINISHED, JobBook, JobRecord
from . import results
from .placement import Placement

log = logging.getLogger(__name__)
GROWTH_PERIOD = 0.5
"""Seconds: each growth of a strip makes Blender draw timeline and preview anew."""


class JobStrips:
    """The strips of the jobs of the open file.

    Args:
        failed: told of a job whose strip cannot be made.

    Attributes:
        placements: where each job's result goes, by uid.
    """

    def __init__(self, failed: Callable[[JobFailed], None]) -> None:
        self.placements: dict[str, Placement] = {}
        self._failed = failed
        self._growing: set[str] = set()
        self._ending: set[str] = set()
        self._unsettled: set[str] = set()
        self._made: set[str] = set()
        self._grown_at: dict[str, float] = {}

    @property
    def busy(self) -> bool:
        """Whether there is anything to show."""
        return bool(self._growing or self._ending)

    @property
    def ending(self) -> bool:
        """Whether a job has ended whose last frames are not shown yet."""
        return bool(self._ending)

    def __contains__(self, uid: str) -> bool:
        return uid in self._growing or uid in self._ending

    def note(self, uid: str, ended: bool) -> None:
        """A job got on, or has ended."""
        self._growing.add(uid)
        if ended:
            self._ending.add(uid)

    def renew(self, uid: str) -> None:
        """A job begins anew: its strip is made even where the editor deleted it."""
        self._unsettled.discard(uid)
        self._made.discard(uid)

    def recheck(self, uids: Collection[str]) -> None:
        """After an undo or redo: bring strips up to date that came back shorter, or that are gone with it."""
        self._growing.update(uids)
        self._ending |= self._unsettled
        self._unsettled.clear()
        self._made.clear()

    def forget(self, uid: str) -> None:
        """A job is off the list; its strip stays."""
        self._unsettled.discard(uid)
        self.placements.pop(uid, None)
        self._grown_at.pop(uid, None)

    def clear(self) -> None:
        """Forget all, as when another file is opened."""
        for jobs in (self._growing, self._ending, self._unsettled, self._made):
            jobs.clear()
        self._grown_at.clear()
        self.placements.clear()

    def show(self, book: JobBook, running: Collection[str], deadline: float) -> bool:
        """Grow the strips; a job has ended when its strip is complete. Whether there was anything to show.

        Args:
            running: jobs whose frames still come.
            deadline: time.monotonic() after which the rest waits for the next call.
        """
        self._settle()
        pending = self._due(running, now := time.monotonic())
        born = {uid: number for number, uid in enumerate(book.records)}
        for uid in sorted(pending, key=lambda uid: born.get(uid, -1)):  # of takes that end together the last is shown
            record, placement = book.get(uid), self.placements.get(uid)
            if record and record.saved:
                self._grown_at[uid] = now
            if record and placement and not self._grown(record, placement, deadline):
                continue
            self._growing.discard(uid)
            if uid in self._ending:
                self._ending.discard(uid)
                if record and placement and not self._finished(record, placement):
                    self._unsettled.add(uid)
        return bool(pending)

    def _settle(self) -> None:
        """Show what ended while there was no sequencer, and make it an undo step where that had to wait."""
        ready = {uid for uid in self._unsettled if results.may_settle(self.placements[uid])}
        self._unsettled -= ready
        self._ending |= ready

    def _due(self, running: Collection[str], now: float) -> set[str]:
        """Jobs whose strips are to be brought up to date now: those at work now and then, all others at once."""
        fresh = {uid for uid in running if now < self._grown_at.get(uid, 0.0) + GROWTH_PERIOD}
        return self._growing - fresh | self._ending

    def _grown(self, record: JobRecord, placement: Placement, deadline: float) -> bool:
        uid, there = record.plan.uid, results.stage(placement) is not None
        if not there:
            self._made.discard(uid)
        # A strip that is gone though nothing was undone was deleted by the editor: it is not made again.
        create = (record.state in UNFINISHED or uid in self._ending) and uid not in self._made
        try:
            grown = results.grow(record, placement, deadline, create)
        except Exception as error:  # noqa: BLE001 - boundary of one job: the others go on
            self._failed(JobFailed(uid, _sentence(record, error), retryable=True))
            return True
        if record.saved and there:
            self._made.add(uid)
        return grown

    def _finished(self, record: JobRecord, placement: Placement) -> bool:
        try:
            return results.finish(record, placement)
        except Exception as error:  # noqa: BLE001 - boundary of one job: the others go on
            record.apply(JobFailed(record.plan.uid, _sentence(record, error), retryable=True))
            return True


def _sentence(record: JobRecord, error: Exception) -> str:
    """What is wrong with the strip of a job."""
    if isinstance(error, AddonError):
        return str(error)
    log.error("the strip of %s", record.plan.name, exc_info=error)
    return f"The strip of {record.plan.name} could not be made: {error!r}. Look at Blender's console, then fetch it."
