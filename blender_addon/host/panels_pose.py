"""The sidebar's pose panels: what the head of the selected dub does, frame by frame."""

from __future__ import annotations

import bpy

from . import pose_keys, pose_tools, runtime, sequencer
from .panels import DubPanel, draw_error, draw_sentence

UNKNOWN = "The error of the angles was not measured"


class POSEDUB_PT_pose(DubPanel, bpy.types.Panel):
    """Handles and keyframes of the active dub strip."""

    bl_label = "Pose Keyframes"
    bl_parent_id = "POSEDUB_PT_dub"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The strip, its bake, and its handles."""
        layout, baker = self.layout, runtime.current().baker
        strip = pose_keys.active(sequencer.edit_scene(context))
        layout.label(text=strip.name if strip else "No dub strip is selected", icon="ARMATURE_DATA")
        if strip and baker.phase(strip):
            row = layout.row()
            row.label(text=f"{baker.phase(strip)}...", icon="TIME")
            row.operator("posedub.bake_cancel", text="", icon="X")
        else:
            layout.operator("posedub.bake_pose", icon="KEYFRAME_HLT")
        if baker.problem:
            draw_error(layout, context, baker.problem)
        if baker.note:
            draw_sentence(layout, context, baker.note, "INFO")
        if strip:
            draw_handles(layout, context, strip)


class POSEDUB_PT_pose_tools(DubPanel, bpy.types.Panel):
    """What can be done to the keyframes of a range."""

    bl_label = "Tools"
    bl_parent_id = "POSEDUB_PT_pose"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The range, then a button for each tool."""
        scene = sequencer.edit_scene(context)
        strip = pose_keys.active(scene)
        if strip:
            first, end = pose_keys.working_range(scene, strip)
            where = "preview range" if scene.use_preview_range else "strip"
            self.layout.label(text=f"Frames {first} to {end - 1} ({where})")
        grid = self.layout.grid_flow(columns=2, align=True)
        for tool in pose_tools.CLASSES:
            grid.operator(tool.bl_idname)


class POSEDUB_PT_pose_codes(DubPanel, bpy.types.Panel):
    """The numbers behind the pose."""

    bl_label = "Pose Codes"
    bl_parent_id = "POSEDUB_PT_pose"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Both codes and how they are blended."""
        strip = pose_keys.active(sequencer.edit_scene(context))
        if strip is None:
            return
        self.layout.use_property_split = True
        self.layout.prop(strip, pose_keys.BLEND)
        self.layout.prop(strip, pose_keys.FIRST)
        self.layout.prop(strip, pose_keys.SECOND)


def draw_handles(layout: bpy.types.UILayout, context: bpy.types.Context, strip: bpy.types.Strip) -> None:
    """Yaw, pitch and roll, how exact they are, and their keys."""
    column = layout.column()
    column.use_property_split = True
    for name in pose_keys.HANDLES:
        column.prop(strip, name)
    problem = pose_tools.map_problem()
    draw_sentence(layout, context, problem or accuracy(), "INFO")
    row = layout.row(align=True)
    row.operator("posedub.key_handles", icon="KEY_HLT")
    row.operator_menu_enum("posedub.clear_pose", "what", text="Clear")


def accuracy() -> str:
    """How well the weights' pose codes tell angles."""
    residual = pose_tools.required_map().residual
    degrees = " / ".join(f"{value:.1f}" for value in residual)
    return f"Error of the angles: {degrees} degrees" if residual else UNKNOWN


CLASSES = (POSEDUB_PT_pose, POSEDUB_PT_pose_tools, POSEDUB_PT_pose_codes)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
