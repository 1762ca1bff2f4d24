"""What all operators share: errors are reports, and jobs and strips are found anew."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ...core.errors import AddonError, unexpected
from ...core.jobs import JobRecord
from ..bl import sequencer
from ..sources import pose_keys
from ..tasks import main_loop, runtime

WAIT = {
    "name": "Wait",
    "description": "Block until the dub has ended; for scripts",
    "default": False,
    "options": {"SKIP_SAVE", "HIDDEN"},
}
UID = {"name": "Dub", "description": "Which dub; the newest one when empty", "options": {"SKIP_SAVE", "HIDDEN"}}
NO_STRIP = "Select the strip of a dub."
FINISHED, CANCELLED = {"FINISHED"}, {"CANCELLED"}


class SentenceOperator:
    """An operator whose `run` may raise AddonError; the sentence becomes its report.

    It is greyed out while `problem` has a sentence, which then is its tooltip.
    """

    report: Callable[[set[str], str], None]
    poll_message_set: Callable[[str], None]

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """Why it cannot run now, a sentence; "" when it can."""
        return ""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Called by Blender."""
        problem = cls.problem(sequencer.edit_scene(context))
        if problem:
            cls.poll_message_set(problem)
        return not problem

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
            main_loop.wake()
            main_loop.redraw()


class StripOperator(SentenceOperator):
    """An operator on the active dub strip."""

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """A dub strip must be selected."""
        return "" if pose_keys.active(scene) else NO_STRIP


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
    main_loop.wait_for_job(record.plan.uid)
    return FINISHED if record.state == "done" else CANCELLED


def active_strip(context: bpy.types.Context) -> tuple[bpy.types.Scene, bpy.types.Strip]:
    """The scene and its active dub strip; raises AddonError."""
    scene = sequencer.edit_scene(context)
    strip = pose_keys.active(scene)
    if strip is None:
        raise AddonError(NO_STRIP)
    return scene, strip
