"""Presets of the dub's settings, in the header of their panel."""

from __future__ import annotations

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from ...core import schema

FOLDER = "posedub"
SCENE = "(getattr(bpy.context, 'sequencer_scene', None) or bpy.context.scene)"
KEPT = tuple(name for name, parameter in schema.PARAMETERS.items() if parameter.kept)


class POSEDUB_PT_presets(PresetPanel, bpy.types.Panel):
    """The list of presets."""

    bl_label = "Dub Presets"
    preset_subdir = FOLDER
    preset_operator = "script.execute_preset"
    preset_add_operator = "posedub.preset_add"


class POSEDUB_OT_preset_add(AddPresetBase, bpy.types.Operator):
    """Keep the settings of the dub as a preset, or remove one"""

    bl_idname = "posedub.preset_add"
    bl_label = "Add Dub Preset"
    preset_menu = "POSEDUB_PT_presets"
    preset_subdir = FOLDER
    preset_defines = (f"settings = {SCENE}.posedub",)
    preset_values = tuple(f"settings.{name}" for name in KEPT)


CLASSES = (POSEDUB_PT_presets, POSEDUB_OT_preset_add)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
