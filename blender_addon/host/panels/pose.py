"""The sidebar's pose panels: what the head of the selected dub does, frame by frame."""

from __future__ import annotations

from math import isfinite

import bpy

from ...core.engines import EngineTraits, PoseControl
from ...core.pose_map import PoseMap
from ..bl import sequencer
from ..sources import footage, pose_keys
from ..tasks import runtime, speech_pose
from .base import DubPanel, draw_error, draw_sentence

TOOLS = ("smooth", "scale", "hold", "frontalise", "mirror", "offset", "loop", "ease")
UNKNOWN = "The error of the angles was not measured"


class POSEDUB_PT_pose(DubPanel, bpy.types.Panel):
    """Handles and keyframes of the active dub strip."""

    bl_label = "Pose Keyframes"
    bl_parent_id = "POSEDUB_PT_dub"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The strip, its bake, and its handles."""
        layout, baker = self.layout, runtime.current().baker
        scene = sequencer.edit_scene(context)
        strip = pose_keys.active(scene) or sounding(scene)
        layout.label(text=strip.name if strip else "No dub strip is selected", icon="ARMATURE_DATA")
        if strip and baker.phase(strip):
            row = layout.row()
            row.label(text=f"{baker.phase(strip)}...", icon="TIME")
            row.operator("posedub.bake_cancel", text="", icon="X")
        else:
            layout.operator("posedub.bake_pose", icon="KEYFRAME_HLT")
            layout.operator("posedub.pose_from_speech", icon="SPEAKER")
        if baker.problem:
            draw_error(layout, context, baker.problem)
        if baker.note:
            draw_sentence(layout, context, baker.note, "INFO")
        if strip:
            draw_handles(layout, context, strip)


def sounding(scene: bpy.types.Scene) -> bpy.types.Strip | None:
    """What a pose from the chosen sound goes into; None where no sound is chosen."""
    reading = runtime.current().link.read(scene)
    return speech_pose.target_of(reading) if reading.sounds else None


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
        for tool in TOOLS:
            grid.operator(f"posedub.pose_{tool}")


class POSEDUB_PT_pose_codes(DubPanel, bpy.types.Panel):
    """The numbers behind the pose."""

    bl_label = "Pose Codes"
    bl_parent_id = "POSEDUB_PT_pose"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Both codes and how they are blended."""
        scene = sequencer.edit_scene(context)
        strip = pose_keys.active(scene)
        if strip is None:
            return
        self.layout.use_property_split = True
        self.layout.prop(strip, pose_keys.BLEND)
        engine = runtime.current().link.offer(scene).engine
        for name in (pose_keys.FIRST, pose_keys.SECOND):
            if engine.implicit:
                self.layout.prop(strip, name)
            else:
                draw_controls(self.layout, engine, strip, name)


def draw_handles(layout: bpy.types.UILayout, context: bpy.types.Context, strip: bpy.types.Strip) -> None:
    """Yaw, pitch and roll, how exact they are, and their keys."""
    link, column, scene = runtime.current().link, layout.column(), sequencer.edit_scene(context)
    engine = link.offer(scene).engine
    column.use_property_split = True
    if engine.implicit:
        for name in pose_keys.HANDLES:
            column.prop(strip, name)
        problem = link.pose_map_problem(scene)
        draw_sentence(layout, context, problem or accuracy(link.require_pose_map(scene)), "INFO")
    elif engine.in_angles:
        for name, control in zip(pose_keys.HANDLES, engine.pose_controls, strict=True):
            column.prop(strip, name)
            draw_range(column, control)
    else:
        draw_controls(column, engine, strip, pose_keys.FIRST)
    if link.offer(scene).heeds("blink"):
        column.prop(strip, footage.BLINK)
    row = layout.row(align=True)
    row.operator("posedub.key_handles", icon="KEY_HLT")
    row.operator_menu_enum("posedub.clear_pose", "what", text="Clear")


def draw_controls(layout: bpy.types.UILayout, engine: EngineTraits, strip: bpy.types.Strip, name: str) -> None:
    """The numbers of a pose code by the engine's names for them."""
    for index, control in enumerate(engine.pose_controls):
        layout.prop(strip, name, index=index, text=control.title)
        draw_range(layout, control)


def draw_range(layout: bpy.types.UILayout, control: PoseControl) -> None:
    """What the engine draws well."""
    if isfinite(control.low) and isfinite(control.high):
        layout.label(text=f"{control.low:g} to {control.high:g}")


def accuracy(pose_map: PoseMap) -> str:
    """How well the weights' pose codes tell angles."""
    degrees = " / ".join(f"{value:.1f}" for value in pose_map.residual)
    return f"Error of the angles: {degrees} degrees" if degrees else UNKNOWN


CLASSES = (POSEDUB_PT_pose, POSEDUB_PT_pose_tools, POSEDUB_PT_pose_codes)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
