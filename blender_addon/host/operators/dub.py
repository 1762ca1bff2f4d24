# mypy: disable-error-code="valid-type"
"""Operators on dubs: start, cancel, start again, fetch, forget.

No postponed annotations here: Blender reads them as values.
"""

from collections.abc import Callable

import bpy

from ...core.errors import AddonError
from ...core.jobs import JobRecord
from .. import preferences, setup_view
from ..bl import sequencer
from ..planning import scene_plan
from ..planning.scene_plan import Draft
from ..strips import recovery, results
from ..tasks import main_loop, runtime
from . import consent
from .base import CANCELLED, FINISHED, UID, WAIT, SentenceOperator, job, outcome

SOUNDS = (
    ("active", "Chosen Sound", "One dub, of the chosen sound strip"),
    ("each", "Each Sound", "A dub of its own for each selected sound strip"),
    ("together", "All Sounds as One", "One dub, of all that the selected sound strips play together"),
)


class POSEDUB_OT_dub(consent.ConsentProperties, SentenceOperator, bpy.types.Operator):
    """Have the portrait speak the sound strip: as a new strip above it, or as a new take in the dub strip there is"""

    bl_idname = "posedub.dub"
    bl_label = "Dub"
    sounds: bpy.props.EnumProperty(
        name="Sounds", items=SOUNDS, description="What is dubbed when several sound strips are selected"
    )
    wait: bpy.props.BoolProperty(**WAIT)
    _asking = False

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip, by what is dubbed."""
        what = next(text for name, _label, text in SOUNDS if name == properties.sounds)
        return f"{cls.__doc__}. {what}"

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """A source that is not there."""
        return runtime.current().link.read(scene).problem()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Called by Blender for a button: once for each new person it asks for a short statement."""
        self._asking = not bpy.app.background and consent.unasked(context) is not None
        if not self._asking:
            return self.execute(context)
        return self.ask(context, self.bl_label)

    def draw(self, context: bpy.types.Context) -> None:
        """The dialog that asks, else the operator's own property."""
        if self._asking:
            self.draw_question(consent.shown(context))
        else:
            self.layout.prop(self, "sounds")

    def run(self, context: bpy.types.Context) -> set[str]:
        """Plan the dubs, then start them; what was stated in the dialog, or by a script, is kept first."""
        if self._asking or self.properties.is_property_set("consent"):
            self.remember(consent.shown(context))
        return start(sequencer.edit_scene(context), self.sounds, self.wait)


class POSEDUB_OT_send_to_farm(SentenceOperator, bpy.types.Operator):
    """Have the server make dubs of the selected sound strips without waiting for them; fetch them later"""

    bl_idname = "posedub.send_to_farm"
    bl_label = "Send to Farm"

    sounds: bpy.props.EnumProperty(
        name="Sounds", items=SOUNDS, default="each", description="What is dubbed when several sound strips are selected"
    )
    wait: bpy.props.BoolProperty(**WAIT)

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """A source that is not there."""
        return runtime.current().link.read(scene).problem()

    def run(self, context: bpy.types.Context) -> set[str]:
        """Plan the dubs, then leave them to the server."""
        for record in begun(sequencer.edit_scene(context), self.sounds, runtime.current().send):
            if self.wait:
                main_loop.wait_until_left(record.plan.uid)
        return FINISHED


class POSEDUB_OT_fetch_all(SentenceOperator, bpy.types.Operator):
    """Get the frames of all dubs of this file that were left to the server"""

    bl_idname = "posedub.fetch_all"
    bl_label = "Fetch All"

    wait: bpy.props.BoolProperty(**WAIT)

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """Nothing was left."""
        return "" if runtime.current().left() else "No dub of this file was left to the server."

    def run(self, context: bpy.types.Context) -> set[str]:
        """Go on with each of them."""
        records = runtime.current().left()
        for record in records:
            runtime.current().fetch(record)
        return FINISHED if all(outcome(record, self.wait) == FINISHED for record in records) else CANCELLED


def start(scene: bpy.types.Scene, sounds: str, wait: bool) -> set[str]:
    """Dub what is selected in a scene; `sounds` as the operator has it. Raises AddonError."""
    records = begun(scene, sounds, runtime.current().start)
    return FINISHED if all(outcome(record, wait) == FINISHED for record in records) else CANCELLED


def begun(scene: bpy.types.Scene, sounds: str, begin: Callable[[Draft], JobRecord]) -> list[JobRecord]:
    """The dubs of what is selected in a scene, each begun by `begin`. Raises AddonError."""
    drafts, records = scene_plan.drafts(scene, sounds, runtime.current().link.offer(scene)), []
    try:
        for draft in drafts:
            records.append(begin(draft))
    except AddonError:
        for draft in drafts[len(records) :]:
            scene_plan.discard(draft.plan.folder)
        raise
    return records


def server_problem() -> str:
    """Why no server can be had, a sentence; "" when one can."""
    if preferences.settings().mode != "local":
        return ""
    runtime.current().setup.look()
    return "Set up the server first." if setup_view.shown.needed else ""


class POSEDUB_OT_cancel(SentenceOperator, bpy.types.Operator):
    """Stop this dub; the frames that are finished stay"""

    bl_idname = "posedub.cancel"
    bl_label = "Cancel Dub"

    uid: bpy.props.StringProperty(**UID)
    wait: bpy.props.BoolProperty(**WAIT)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Ask the job to end."""
        record = job(self.uid)
        runtime.current().cancel(record.plan.uid)
        outcome(record, self.wait)
        return FINISHED


class POSEDUB_OT_retry(SentenceOperator, bpy.types.Operator):
    """Start this dub again; frames that are finished are kept"""

    bl_idname = "posedub.retry"
    bl_label = "Retry Dub"

    uid: bpy.props.StringProperty(**UID)
    wait: bpy.props.BoolProperty(**WAIT)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Submit the same plan again."""
        record = _ended(self.uid)
        runtime.current().restart(record)
        return outcome(record, self.wait)


class POSEDUB_OT_fetch(SentenceOperator, bpy.types.Operator):
    """Get the missing frames of this dub from the server, and put its strip back"""

    bl_idname = "posedub.fetch"
    bl_label = "Fetch Dub"

    uid: bpy.props.StringProperty(**UID)
    wait: bpy.props.BoolProperty(**WAIT)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Go on from the first frame that is missing."""
        record = _ended(self.uid)
        if not record.job_id:
            raise AddonError(f"{record.plan.name} never reached a server.", "Retry it.")
        runtime.current().fetch(record)
        return outcome(record, self.wait)


class POSEDUB_OT_remove(SentenceOperator, bpy.types.Operator):
    """Take this dub off the list; its strip and its frames stay"""

    bl_idname = "posedub.remove"
    bl_label = "Remove from List"

    uid: bpy.props.StringProperty(**UID)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Forget the job."""
        plan = _ended(self.uid).plan
        runtime.current().forget(plan.uid)
        recovery.dismiss(plan.folder)
        return FINISHED


class POSEDUB_OT_show_warning(SentenceOperator, bpy.types.Operator):
    """Go to the first frame of this warning"""

    bl_idname = "posedub.show_warning"
    bl_label = "Go to Warning"

    uid: bpy.props.StringProperty(**UID)
    index: bpy.props.IntProperty(name="Warning", min=0, description="Which one", options={"SKIP_SAVE", "HIDDEN"})

    def run(self, context: bpy.types.Context) -> set[str]:
        """Move the playhead."""
        record = job(self.uid)
        if self.index >= len(record.warnings):
            raise AddonError(f"{record.plan.name} has no warning {self.index}.", "Choose one in the list.")
        placement = runtime.current().strips.placements.get(record.plan.uid)
        first = record.warnings[self.index].first
        sequencer.edit_scene(context).frame_current = results.timeline_frame(record, placement, first)
        return FINISHED


def _ended(uid: str) -> JobRecord:
    record = job(uid)
    if runtime.current().active(record.plan.uid):
        raise AddonError(f"{record.plan.name} is still running.", "Cancel it first.")
    return record


CLASSES = (
    POSEDUB_OT_dub,
    POSEDUB_OT_send_to_farm,
    POSEDUB_OT_fetch_all,
    POSEDUB_OT_cancel,
    POSEDUB_OT_retry,
    POSEDUB_OT_fetch,
    POSEDUB_OT_remove,
    POSEDUB_OT_show_warning,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
