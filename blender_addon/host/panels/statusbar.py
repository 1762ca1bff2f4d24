"""Progress in Blender's status bar, which is seen whatever editor is open."""

from __future__ import annotations

import bpy

from ..tasks import runtime


def draw(self: bpy.types.Header, context: bpy.types.Context) -> None:
    """Appended to the status bar: the oldest running dub, how many wait behind it, and its cancel button."""
    state = runtime.current()
    active = [record for record in state.book if state.active(record.plan.uid)]
    if not active:
        return
    share, text = state.progress(active[0])
    row = self.layout.row(align=True)
    row.progress(factor=min(1.0, share), text=f"{active[0].plan.name}: {text}")
    if len(active) > 1:
        row.label(text=f"+ {len(active) - 1}")
    row.operator("posedub.cancel", text="", icon="X").uid = active[0].plan.uid


def register() -> None:
    """Append to the status bar."""
    bpy.types.STATUSBAR_HT_header.append(draw)


def unregister() -> None:
    """Withdraw from it."""
    bpy.types.STATUSBAR_HT_header.remove(draw)
