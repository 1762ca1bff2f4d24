"""What all operators share: errors are reports, and jobs are found by uid."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..core.errors import AddonError, unexpected
from ..core.jobs import JobRecord
from . import pump, runtime

FINISHED, CANCELLED = {"FINISHED"}, {"CANCELLED"}


class SentenceOperator:
    """An operator whose `run` may raise AddonError; the sentence becomes its report."""

    report: Callable[[set[str], str], None]

    def run(self, context: bpy.types.Context) -> set[str]:
        """Do the work."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Called by Blender."""
        state = runtime.current()
        state.error = ""
        try:
            return self.run(context)
        except (AddonError, OSError, MemoryError) as error:  # a folder or the memory may give out anywhere
            state.error = str(error if isinstance(error, AddonError) else unexpected("This did not work", error))
            self.report({"ERROR"}, state.error)
            return CANCELLED
        finally:
            pump.wake()
            pump.redraw()


def job(uid: str) -> JobRecord:
    """The job of a uid, the newest one for ""; raises AddonError when there is none."""
    records = list(runtime.current().book)
    record = runtime.current().book.get(uid) if uid else (records[-1] if records else None)
    if record is None:
        raise AddonError("There is no such dub any more.", "Choose one in the list.")
    return record


def outcome(record: JobRecord, wait: bool) -> set[str]:
    """Return at once, or block until the job has ended; raises AddonError when it failed."""
    if not wait:
        return FINISHED
    pump.wait_for_job(record.plan.uid)
    return FINISHED if record.state == "done" else CANCELLED
