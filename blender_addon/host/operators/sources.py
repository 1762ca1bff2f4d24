# mypy: disable-error-code="valid-type"
"""Operators that assign a selected strip as a source, or take it back.

No postponed annotations here: Blender reads them as values.
"""

import bpy

from ...core.errors import AddonError
from ..bl import sequencer
from ..sources import select
from .base import FINISHED, SentenceOperator

ROLE = {
    "name": "Source",
    "items": [(role, role.capitalize(), f"The {role} of the dub") for role in select.KINDS],
    "options": {"SKIP_SAVE", "HIDDEN"},
}


def origin(scene: bpy.types.Scene, role: str) -> str:
    """A sentence on where the strip of a role comes from."""
    sources = select.read(scene)
    choice = sources.chosen[role]
    if role in sources.assigned:
        return "It is set now"
    if choice.strip is None:
        return "It is missing now"
    return "Now it is the one that the selected dub was made from" if choice.of_dub else "Now it is a selected strip"


class POSEDUB_OT_assign_source(SentenceOperator, bpy.types.Operator):
    """Use the selected strip as this source, whatever is selected later"""

    bl_idname = "posedub.assign_source"
    bl_label = "Set Source"
    bl_options = {"REGISTER", "UNDO"}

    role: bpy.props.EnumProperty(**ROLE)

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip, with where the source comes from now."""
        return f"{cls.__doc__}. {origin(sequencer.edit_scene(context), properties.role)}"

    def run(self, context: bpy.types.Context) -> set[str]:
        """Remember the active strip of a fitting kind, else any selected one."""
        scene = sequencer.edit_scene(context)
        found = sequencer.selected(scene, select.KINDS[self.role])
        if not found:
            raise AddonError(f"Nothing to set: select {select.WANTED[self.role]} first.")
        scene.posedub.source(self.role).assign(sequencer.tagged(found[0]))
        return FINISHED


class POSEDUB_OT_clear_source(SentenceOperator, bpy.types.Operator):
    """Take this source from the selection again"""

    bl_idname = "posedub.clear_source"
    bl_label = "Clear Source"
    bl_options = {"REGISTER", "UNDO"}

    role: bpy.props.EnumProperty(**ROLE)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Forget the strip."""
        scene = sequencer.edit_scene(context)
        scene.posedub.source(self.role).assign(sequencer.StripRef("", ""))
        return FINISHED


class POSEDUB_OT_choose_weights(SentenceOperator, bpy.types.Operator):
    """Draw with these weights of the server from the next dub on"""

    bl_idname = "posedub.choose_weights"
    bl_label = "Choose Engine"
    bl_options = {"REGISTER", "UNDO"}

    weights: bpy.props.StringProperty(name="Weights", description="Their id; the server's default ones when empty")

    def run(self, context: bpy.types.Context) -> set[str]:
        """Remember them in the scene."""
        sequencer.edit_scene(context).posedub.weights = self.weights
        return FINISHED


CLASSES = (POSEDUB_OT_assign_source, POSEDUB_OT_clear_source, POSEDUB_OT_choose_weights)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
