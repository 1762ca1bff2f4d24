"""Who is meant in a strip that shows several people.

The choice is kept on the strip, as a point of its movie at a second of it: it
stays right when the strip is moved, trimmed, split or copied.
"""

from __future__ import annotations

from fractions import Fraction

import bpy

from ...core.faces import CropMode, FaceChoice, Point
from ..bl import sequencer

AT, TIME = "posedub_face", "posedub_face_time"


def read(strip: bpy.types.Strip, crop: CropMode = "auto") -> FaceChoice:
    """The strip's face: the chosen one, else left to the server; a crop shows only one."""
    if crop != "auto" or AT not in strip:
        return FaceChoice(crop)
    x, y = strip[AT]
    time = strip.get(TIME)
    return FaceChoice(crop, (x, y), Fraction(time) if time else None)


def at_point(strip: bpy.types.Strip, point: Point, time: Fraction) -> FaceChoice:
    """The face at a point of the picture; `time` counts for movies and image sequences."""
    return FaceChoice("auto", point, time if sequencer.is_moving(strip) else None)


def write(strip: bpy.types.Strip, choice: FaceChoice) -> None:
    """Keep a choice that has a point."""
    clear(strip)
    strip[AT] = choice.at
    if choice.time is not None:
        strip[TIME] = str(choice.time)


def clear(strip: bpy.types.Strip) -> None:
    """Leave the choice to the server."""
    for key in (AT, TIME):
        strip.pop(key, None)
