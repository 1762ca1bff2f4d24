# mypy: disable-error-code="valid-type"
"""Operators that find the people in a strip and choose whom a dub means.

No postponed annotations here: Blender reads them as values.
"""

import bpy

from ...core.errors import AddonError
from ..bl import sequencer
from ..sources import face_choice, select
from ..tasks import main_loop, runtime
from .base import FINISHED, WAIT, SentenceOperator

ROLES = (
    ("footage", "Footage", "The strip that the face is dubbed into"),
    ("portrait", "Portrait", "The strip of the face"),
    ("pose", "Pose", "The strip whose head movement is taken"),
)


class FaceOperator(SentenceOperator):
    """An operator on the faces that were found."""

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """Faces must have been found, in a strip that is there."""
        search = runtime.current().faces
        if search.busy:
            return "Faces are being looked for; wait."
        if not search.faces:
            return "No faces were found yet; find them first."
        return "" if search.strip() else "The strip in which faces were found is gone; find them in another one."


class POSEDUB_OT_find_faces(FaceOperator, bpy.types.Operator):
    """Show the people in what the strip shows at the playhead, to choose whom the dub means"""

    bl_idname = "posedub.find_faces"
    bl_label = "Find Faces"

    role: bpy.props.EnumProperty(name="Strip", items=ROLES, description="Whose strip is looked at")
    wait: bpy.props.BoolProperty(**WAIT)

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """It needs some picture."""
        chosen = select.read(scene).chosen
        there = any(chosen[role].strip for role, _name, _text in ROLES)
        return "" if there else chosen["footage"].problem

    def run(self, context: bpy.types.Context) -> set[str]:
        """Ask the server; the thumbnails appear when it has answered."""
        scene, search = sequencer.edit_scene(context), runtime.current().faces
        search.start(scene, select.read(scene).chosen[self.role].require())
        if self.wait:
            main_loop.run_until(lambda: not search.busy)
            if search.problem:
                raise AddonError(search.problem)
        return FINISHED


class POSEDUB_OT_choose_face(FaceOperator, bpy.types.Operator):
    """Dub this person, wherever the strip is portrait, pose source or footage; a movie's portrait is this picture"""

    bl_idname = "posedub.choose_face"
    bl_label = "Choose Face"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.IntProperty(name="Face", min=0, description="Which one, counted from the largest face")

    def run(self, context: bpy.types.Context) -> set[str]:
        """Note the choice on the strip."""
        search = runtime.current().faces
        strip = search.strip()
        if strip is None or self.index >= len(search.faces):
            raise AddonError(f"There is no face {self.index}.", "Find faces again.")
        face_choice.write(strip, search.choice(strip, self.index))
        return FINISHED


class POSEDUB_OT_clear_face(FaceOperator, bpy.types.Operator):
    """Leave the choice to the server again: the largest face"""

    bl_idname = "posedub.clear_face"
    bl_label = "Clear Face"
    bl_options = {"REGISTER", "UNDO"}

    role: bpy.props.EnumProperty(name="Strip", items=ROLES, description="Whose choice is cleared")

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """There must be a choice."""
        choices = select.read(scene).chosen
        strips = [choices[role].strip for role, _name, _text in ROLES]
        chosen = any(strip and face_choice.AT in strip for strip in strips)
        return "" if chosen else "No face was chosen in the dub's strips."

    def run(self, context: bpy.types.Context) -> set[str]:
        """Forget the strip's choice."""
        face_choice.clear(select.read(sequencer.edit_scene(context)).chosen[self.role].require())
        return FINISHED


CLASSES = (POSEDUB_OT_find_faces, POSEDUB_OT_choose_face, POSEDUB_OT_clear_face)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
