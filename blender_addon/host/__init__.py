"""The only part of the add-on that knows Blender: properties, operators, panels, and the pump."""

from __future__ import annotations

from . import (
    handlers,
    menus,
    operators_dub,
    operators_server,
    operators_sources,
    panels,
    preferences,
    properties,
    pump,
)

MODULES = (preferences, properties, operators_sources, operators_dub, operators_server, panels, menus, handlers, pump)


def register() -> None:
    """Register everything, in an order in which each part finds what it needs."""
    for module in MODULES:
        module.register()


def unregister() -> None:
    """Take everything back, jobs and the local server included."""
    for module in reversed(MODULES):
        module.unregister()
