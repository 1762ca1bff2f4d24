"""PoseDub: visual dubbing in Blender's Video Sequence Editor."""

from __future__ import annotations


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import host

    host.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    from . import host

    host.unregister()
