"""What the panels of the sidebar's tab share."""

from __future__ import annotations

import bpy

from ..bl.layout import draw_error, draw_sentence
from ..sources import select
from ..sources.select import Sources

__all__ = ["ICONS", "ROLES", "ROLE_WIDTH", "DubPanel", "draw_error", "draw_optional", "draw_sentence", "draw_source"]
ICONS = {"portrait": "IMAGE_DATA", "audio": "SOUND", "pose": "ARMATURE_DATA", "footage": "SEQUENCE"}
ROLES = {"portrait": "Portrait", "audio": "Sound", "pose": "Pose", "footage": "Footage"}
ROLE_WIDTH = 0.25
"""Of a row of the sidebar."""


class DubPanel:
    """What the panels of the tab share."""

    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Dub"
    bl_order = 0


def draw_source(layout: bpy.types.UILayout, sources: Sources, role: str) -> None:
    """A row: the role, its strip or what is missing, and the buttons that set and clear it."""
    choice, assigned = sources.chosen[role], role in sources.assigned
    missing = choice.problem if assigned or choice.of_dub else f"Select {select.WANTED[role]}"
    split = layout.split(factor=ROLE_WIDTH, align=True)
    split.label(text=ROLES[role])
    row = split.row(align=True)
    label = row.row()
    label.alert = choice.strip is None
    label.label(text=choice.strip.name if choice.strip else missing, icon=ICONS[role])
    icon = "PINNED" if assigned else "LINKED" if choice.of_dub else "UNPINNED"
    row.operator("posedub.assign_source", text="", icon=icon).role = role
    if assigned:
        row.operator("posedub.clear_source", text="", icon="X").role = role


def draw_optional(layout: bpy.types.UILayout, role: str) -> None:
    """A row for a role that needs no strip, and has none: the button that sets one."""
    split = layout.split(factor=ROLE_WIDTH, align=True)
    split.label(text=ROLES[role])
    row = split.row(align=True)
    row.label(text="None needed", icon=ICONS[role])
    row.operator("posedub.assign_source", text="", icon="UNPINNED").role = role
