"""The sidebar's panel on the model server."""

from __future__ import annotations

import bpy

from .. import preferences, setup_view
from ..tasks import runtime
from .base import DubPanel, draw_error


class POSEDUB_PT_server(DubPanel, bpy.types.Panel):
    """The model server."""

    bl_label = "Server"
    bl_parent_id = "POSEDUB_PT_dub"
    bl_order = 3
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """What answers, and what can be done about it."""
        layout, link, settings = self.layout, runtime.current().link, preferences.settings()
        layout.label(text=settings.target, icon="URL")
        if link.problem:
            draw_error(layout, context, link.problem)
        if link.info:
            layout.label(text=f"PoseDub {link.info.version} on {link.info.device}")
            for weights in link.info.weights:
                layout.label(text=f"Weights {weights.name} ({weights.kind})")
        row = layout.row(align=True)
        if settings.mode == "local":
            row.operator("posedub.server_stop" if link.server.owned else "posedub.server_start")
        row.operator("posedub.server_check")
        row = layout.row(align=True)
        row.operator("posedub.show_log")
        row.operator("posedub.copy_diagnostics")
        if settings.mode == "local":
            setup_view.draw_files(layout)
        layout.operator("preferences.addon_show", text="Preferences").module = preferences.ADDON


register, unregister = bpy.utils.register_classes_factory((POSEDUB_PT_server,))
