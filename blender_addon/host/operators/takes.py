# mypy: disable-error-code="valid-type"
"""Operators on takes: preview a frame, make a range anew, switch, compare, restore, delete.

No postponed annotations here: Blender reads them as values.
"""

from pathlib import Path

import bpy

from ...core.errors import AddonError
from ..bl import sequencer
from ..planning import redub, scene_reading
from ..sources import pose_keys
from ..strips import takes
from ..tasks import main_loop, runtime, take_list
from .base import FINISHED, WAIT, SentenceOperator, StripOperator, active_strip, outcome

FOLDER = {
    "name": "Take",
    "description": "Its folder; the one chosen in the list when empty",
    "subtype": "DIR_PATH",
    "options": {"SKIP_SAVE", "HIDDEN"},
}


class POSEDUB_OT_preview(SentenceOperator, bpy.types.Operator):
    """Make the dub's frame at the playhead with the settings of now, without starting a dub"""

    bl_idname = "posedub.preview"
    bl_label = "Preview Frame"

    wait: bpy.props.BoolProperty(**WAIT)

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """A source that is not there."""
        return runtime.current().link.read(scene).problem()

    def run(self, context: bpy.types.Context) -> set[str]:
        """Ask for the frame; the panel shows it when it is there."""
        previews = runtime.current().previews
        previews.preview(sequencer.edit_scene(context))
        if self.wait:
            main_loop.run_until(lambda: not previews.previewing)
            if previews.problem:
                raise AddonError(previews.problem)
        return FINISHED


class POSEDUB_OT_redub_range(StripOperator, bpy.types.Operator):
    """Make the frames of the preview range, or of the whole strip, anew as a new take; all others stay as they are"""

    bl_idname = "posedub.redub_range"
    bl_label = "Re-dub Range"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(**WAIT)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Plan the take and start it."""
        state, (scene, strip) = runtime.current(), active_strip(context)
        offer = state.link.offer_of(takes.shown(scene, strip).plan.weights_id)
        return outcome(state.start(redub.draft(scene_reading.read(scene, offer), strip)), self.wait)


def chosen_take(folder: str) -> Path:
    """A take's folder, the one chosen in the list for ""; raises AddonError."""
    manager = bpy.context.window_manager
    if not folder and manager.posedub_take < len(manager.posedub_takes):
        folder = manager.posedub_takes[manager.posedub_take].folder
    if not folder:
        raise AddonError("No take is chosen.", "Choose one in the list.")
    return Path(folder)


class POSEDUB_OT_take_switch(StripOperator, bpy.types.Operator):
    """Show this take in the selected dub strip"""

    bl_idname = "posedub.take_switch"
    bl_label = "Switch to Take"
    bl_options = {"REGISTER", "UNDO"}

    folder: bpy.props.StringProperty(**FOLDER)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Exchange the strip's pictures."""
        takes.switch(*active_strip(context), chosen_take(self.folder))
        return FINISHED


class POSEDUB_OT_take_compare(StripOperator, bpy.types.Operator):
    """Show this take in the right half of the picture, over the selected dub strip; again to take it away"""

    bl_idname = "posedub.take_compare"
    bl_label = "Compare with Take"
    bl_options = {"REGISTER", "UNDO"}

    folder: bpy.props.StringProperty(**FOLDER)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Add the strip, or remove it."""
        scene, strip = active_strip(context)
        there = takes.compared(scene, strip)
        takes.compare(scene, strip, Path() if there else chosen_take(self.folder))
        return FINISHED


class POSEDUB_OT_take_restore(SentenceOperator, bpy.types.Operator):
    """Set portrait, pose and parameters to those that this take was made with"""

    bl_idname = "posedub.take_restore"
    bl_label = "Restore Settings"
    bl_options = {"REGISTER", "UNDO"}

    folder: bpy.props.StringProperty(**FOLDER)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Write the settings; what cannot be restored is reported."""
        scene = sequencer.edit_scene(context)
        for sentence in takes.restore(scene, pose_keys.active(scene), chosen_take(self.folder)):
            self.report({"WARNING"}, sentence)
        return FINISHED


class POSEDUB_OT_take_delete(SentenceOperator, bpy.types.Operator):
    """Delete the files of this take from the disk; they cannot be brought back by undo"""

    bl_idname = "posedub.take_delete"
    bl_label = "Delete Take"
    bl_options = {"REGISTER"}

    folder: bpy.props.StringProperty(**FOLDER)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first."""
        return context.window_manager.invoke_confirm(self, event)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Delete them, unless a strip shows them or a job writes them."""
        folder, state = chosen_take(self.folder), runtime.current()
        if folder.resolve() in take_list.in_use():
            raise AddonError(f"{folder.name} is shown by a strip.", "Switch that to another take, or delete it, first.")
        if folder.resolve() in state.busy_folders():
            raise AddonError(f"{folder.name} is being made.", "Cancel it first.")
        take_list.remove(folder)
        for record in [record for record in state.book if record.plan.folder.resolve() == folder.resolve()]:
            state.forget(record.plan.uid)
        state.takes.outdated()
        state.previews.outdated()
        return FINISHED


CLASSES = (
    POSEDUB_OT_preview,
    POSEDUB_OT_redub_range,
    POSEDUB_OT_take_switch,
    POSEDUB_OT_take_compare,
    POSEDUB_OT_take_restore,
    POSEDUB_OT_take_delete,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
