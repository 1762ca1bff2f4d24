"""Which dubs a render shows."""

from __future__ import annotations

import logging

import bpy

from ...core.errors import AddonError
from ...core.manifest import read_manifest
from ...core.marks import Rendered, ShownDub
from ..bl import sequencer

log = logging.getLogger(__name__)


def shows_dubs(scene: bpy.types.Scene) -> bool:
    """Whether any strip of a scene's sequence that is not muted shows a dub."""
    return any(sequencer.is_dub(strip) and not sequencer.is_muted(scene, strip) for strip in sequencer.strips(scene))


def dubs(scene: bpy.types.Scene, rendered: Rendered) -> list[ShownDub]:
    """The dubs of a scene's sequence in a render of it, earliest first; other strips may hide them."""
    found = (dub for strip in sequencer.strips(scene) if (dub := _dub(scene, strip, rendered)))
    return sorted(found, key=lambda dub: (dub.first, dub.end))


def _dub(scene: bpy.types.Scene, strip: bpy.types.Strip, rendered: Rendered) -> ShownDub | None:
    if not sequencer.is_dub(strip) or sequencer.is_muted(scene, strip):
        return None
    pictures = rendered.pictures(*sequencer.span(strip))
    if pictures is None:
        return None
    try:
        manifest = read_manifest(sequencer.absolute(strip.directory, scene))
    except AddonError as error:
        log.warning("the render's mark leaves out the strip %s: %s", strip.name, error)
        return None
    return ShownDub(manifest, *pictures)
