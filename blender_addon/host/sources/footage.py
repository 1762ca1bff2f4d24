"""Dubbing into the footage: which strip, how its overlay lies on it, and how much of the face is dubbed.

The amount is a property of the dub strip, 0 for the whole face and 1 for the
mouth only, and so is how far its eyes are closed: Blender moves, splits and
undoes their F-Curves with the strip.
"""

from __future__ import annotations

import bpy

from ..bl import appearance
from . import pose_keys

MOUTH_ONLY, BLINK = "posedub_mouth_only", "posedub_blink"
AMOUNTS = (MOUTH_ONLY, BLINK)


def keyed(scene: bpy.types.Scene, sound: bpy.types.Strip, selected: bpy.types.Strip | None) -> bpy.types.Strip | None:
    """The dub strip whose keyed amounts serve a dub of this sound: the selected one, else one over the sound."""
    return pose_keys.for_dub(scene, sound, selected, AMOUNTS)


def amounts(
    scene: bpy.types.Scene, strip: bpy.types.Strip, first: int, end: int, name: str = MOUTH_ONLY
) -> tuple[float, ...]:
    """The amounts that a strip's keys say for the timeline frames first <= f < end; one when all are the same."""
    found = pose_keys.parts(scene, strip, first, end, AMOUNTS)
    rows = (row for part in found for row in pose_keys.values(scene, part[0], name, *part[1:]))
    return alike(tuple(min(1.0, max(0.0, amount)) for (amount,) in rows))


def alike(amounts: tuple[float, ...]) -> tuple[float, ...]:
    """One of several amounts when all are the same."""
    return amounts if len(set(amounts)) > 1 else amounts[:1]


def lay_over(scene: bpy.types.Scene, strip: bpy.types.Strip, footage: bpy.types.Strip) -> None:
    """Show a strip's pictures where and as the footage shows its own, keys included."""
    strip.blend_type, strip.alpha_mode = "ALPHA_OVER", "STRAIGHT"
    appearance.give(scene, footage, strip)
