"""Entries in the sequencer's strip menu and in its context menu."""

from __future__ import annotations

import bpy

MENUS = ("SEQUENCER_MT_strip", "SEQUENCER_MT_context_menu")


def draw(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Appended to Blender's menus."""
    self.layout.separator()
    self.layout.operator("posedub.dub", icon="PLAY")
    self.layout.operator_menu_enum("posedub.assign_source", "role", text="Use for Dub")


def register() -> None:
    """Append the entries."""
    for name in MENUS:
        getattr(bpy.types, name).append(draw)


def unregister() -> None:
    """Remove them."""
    for name in MENUS:
        getattr(bpy.types, name).remove(draw)
