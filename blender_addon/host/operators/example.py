# mypy: disable-error-code="valid-type"
"""The operator that makes a first dub, without any media of one's own.

No postponed annotations here: Blender reads them as values.
"""

import bpy

from ..strips import example
from . import dub
from .base import WAIT, SentenceOperator


class POSEDUB_OT_try_example(SentenceOperator, bpy.types.Operator):
    """Make a scene with a portrait, a speech and a head movement that come with the add-on, and dub them"""

    bl_idname = "posedub.try_example"
    bl_label = "Try an Example"
    bl_options = {"REGISTER", "UNDO"}

    wait: bpy.props.BoolProperty(**WAIT)

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """It is not there, or no server is."""
        return example.problem() or dub.server_problem()

    def run(self, context: bpy.types.Context) -> set[str]:
        """Make the scene, then dub."""
        return dub.start(example.make(), "active", self.wait)


register, unregister = bpy.utils.register_classes_factory((POSEDUB_OT_try_example,))
