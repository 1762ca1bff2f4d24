"""The only part of the add-on that knows Blender: properties, operators, panels, and the pump."""

from __future__ import annotations

import atexit

from . import copies, handlers, operators, panels, preferences, properties
from .copies import waits
from .tasks import main_loop

MODULES = (preferences, properties, *operators.MODULES, *panels.MODULES, handlers, main_loop)


def register() -> None:
    """Register everything, in an order in which each part finds what it needs; wait where another copy works."""
    # The bpy module ends without disabling add-ons, and 4.5 hangs on handlers left behind.
    atexit.register(_withdraw)
    if other := copies.at_work():
        copies.wait(other)
        return
    for module in MODULES:
        module.register()


def unregister() -> None:
    """Take everything back, jobs and the local server included; a copy that waits works from now on."""
    atexit.unregister(_withdraw)
    worked = not waits()
    _withdraw()
    if worked:
        copies.hand_over()


def _withdraw() -> None:
    if waits():
        copies.stop_waiting()
        return
    for module in reversed(MODULES):
        module.unregister()


def take_over() -> None:
    """The copy at work was disabled: register everything."""
    copies.stop_waiting()
    for module in MODULES:
        module.register()
