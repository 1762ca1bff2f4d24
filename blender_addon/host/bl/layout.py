"""Sentences in Blender's layouts, which break no lines themselves."""

from __future__ import annotations

import textwrap

import bpy

PIXELS_PER_LETTER = 7


def draw_error(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str) -> None:
    """A red box with a sentence."""
    box = layout.box()
    box.alert = True
    draw_sentence(box, context, sentence, "ERROR")


def draw_sentence(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str, icon: str) -> None:
    """A sentence, broken into the panel's width."""
    column = layout.column(align=True)
    scale = context.preferences.system.ui_scale or 1.0  # 0 without a window
    letters = context.region.width / PIXELS_PER_LETTER / scale
    for number, line in enumerate(textwrap.wrap(sentence, max(20, int(letters) - 6))):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")
