"""How the pictures of one strip look, given to another: where they lie, how they are coloured, graded and faded.

Opacity is given too, keys included. An overlay that fades with its footage is right where that is shown wholly or not
at all; half faded, the footage's own face shines through by at most a quarter. A meta strip around both fades exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import bpy

from . import fcurves, sequencer

GROUP = "Dub Footage"
PLAIN = ("use_flip_x", "use_flip_y", "color_saturation", "color_multiply", "use_linear_modifiers", "blend_alpha")
"""Properties of a strip that change how its pictures look, besides its transform, crop and modifiers.

Blender 5.2 has no `use_linear_modifiers` any more.
"""
UNFIT = ("rna_type", "name", "is_active", "show_expanded", "open_mask_input_panel")


def give(scene: bpy.types.Scene, source: bpy.types.Strip, strip: bpy.types.Strip) -> None:
    """Show a strip's pictures where and as the other one shows its own, keys included."""
    strip.colorspace_settings.name = source.colorspace_settings.name
    _copy(scene, source, strip, filter(partial(hasattr, source), PLAIN), source.path_from_id(), strip.path_from_id())
    for part in ("transform", "crop"):
        old, new = getattr(source, part), getattr(strip, part)
        _copy(scene, old, new, _settable(old), old.path_from_id(), new.path_from_id())
    for modifier in source.modifiers:
        with sequencer.override(scene):  # without a scene to edit, Blender crashes
            made = strip.modifiers.new(modifier.name, modifier.type)
        _grade(scene, modifier, made, modifier.path_from_id(), made.path_from_id())


def _grade(
    scene: bpy.types.Scene, source: bpy.types.bpy_struct, target: bpy.types.bpy_struct, old: str, new: str
) -> None:
    """Copy a modifier, or a part of one; `old` and `new` are the paths of their keys."""
    _copy(scene, source, target, _settable(source), old, new)
    for name in _parts(source):
        value, other = getattr(source, name), getattr(target, name)
        _grade(scene, value, other, f"{old}.{name}", f"{new}.{name}")
        if isinstance(value, bpy.types.CurveMapping):
            _bend(value, other)


def _settable(owner: bpy.types.bpy_struct) -> Iterator[str]:
    for prop in owner.bl_rna.properties:
        if not prop.is_readonly and prop.identifier not in UNFIT:
            yield prop.identifier


def _parts(owner: bpy.types.bpy_struct) -> Iterator[str]:
    for prop in owner.bl_rna.properties:
        if prop.type == "POINTER" and prop.is_readonly and prop.identifier not in UNFIT:
            yield prop.identifier


def _bend(source: bpy.types.CurveMapping, target: bpy.types.CurveMapping) -> None:
    """Give a new curve mapping the points of another one."""
    for old, new in zip(source.curves, target.curves, strict=True):
        while len(new.points) > len(old.points):
            new.points.remove(new.points[1])
        while len(new.points) < len(old.points):
            new.points.new(0.5, 0.5)
        for point, other in zip(old.points, new.points, strict=True):
            other.location, other.handle_type = point.location, point.handle_type
    target.update()


def _copy(
    scene: bpy.types.Scene,
    source: bpy.types.bpy_struct,
    target: bpy.types.bpy_struct,
    names: Iterable[str],
    old: str,
    new: str,
) -> None:
    for name in names:
        setattr(target, name, getattr(source, name))
        fcurves.copy(scene, f"{old}.{name}", f"{new}.{name}", GROUP)
