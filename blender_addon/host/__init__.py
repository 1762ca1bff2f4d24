"""The only part of the add-on that knows Blender: properties, operators, panels, and the pump."""

from __future__ import annotations

import atexit

from . import (
    handlers,
    menus,
    operators_dub,
    operators_faces,
    operators_pose,
    operators_server,
    operators_sources,
    operators_takes,
    panels,
    panels_output,
    panels_pose,
    panels_takes,
    pose_tools,
    preferences,
    presets,
    properties,
    pump,
    statusbar,
)

DUBS = (operators_sources, operators_dub, operators_takes, operators_faces)
OPERATORS = (*DUBS, operators_pose, pose_tools, operators_server)
PANELS = (presets, panels, panels_output, panels_takes, panels_pose, menus, statusbar)
MODULES = (preferences, properties, *OPERATORS, *PANELS, handlers, pump)


def register() -> None:
    """Register everything, in an order in which each part finds what it needs."""
    for module in MODULES:
        module.register()
    # The bpy module ends without disabling add-ons, and 4.5 hangs on handlers left behind.
    atexit.register(unregister)


def unregister() -> None:
    """Take everything back, jobs and the local server included."""
    atexit.unregister(unregister)
    for module in reversed(MODULES):
        module.unregister()
