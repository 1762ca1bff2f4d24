"""F-Curves of a data-block's action, read and written in bulk, the same in Blender 4.5 and 5.x."""

from __future__ import annotations

import math
from collections.abc import Sequence

import bpy
import numpy as np
from numpy.typing import NDArray

from . import sequencer

KEY = np.dtype(
    [
        ("co", np.float32, 2),
        ("handle_left", np.float32, 2),
        ("handle_right", np.float32, 2),
        ("handle_left_type", np.int32),
        ("handle_right_type", np.int32),
        ("interpolation", np.int32),
        ("easing", np.int32),
        ("type", np.int32),
        ("amplitude", np.float32),
        ("period", np.float32),
        ("back", np.float32),
    ]
)
"""A keyframe; enumerations are numbers."""
Keys = NDArray[np.void]
SHAPE = ("co", "handle_left", "handle_right", "interpolation")
"""The parts of a key that an editor changes; reading all takes three times as long."""
NEAR = 0.01
"""Frames from a key, within which Blender may take the key's value."""
EDITORS = frozenset({"GRAPH_EDITOR", "DOPESHEET_EDITOR"})


def _number(name: str, identifier: str) -> int:
    return int(bpy.types.Keyframe.bl_rna.properties[name].enum_items[identifier].value)


CONSTANT, LINEAR = (_number("interpolation", name) for name in ("CONSTANT", "LINEAR"))
FREE, VECTOR = (_number("handle_left_type", name) for name in ("FREE", "VECTOR"))


def paths(owner: bpy.types.ID) -> set[str]:
    """Properties that have curves with keys."""
    bag = _channelbag(owner)
    return {curve.data_path for curve in bag.fcurves if len(curve.keyframe_points)} if bag else set()


def find(owner: bpy.types.ID, path: str) -> dict[int, bpy.types.FCurve]:
    """Curves with keys of a property, by array index."""
    bag = _channelbag(owner)
    curves = [curve for curve in bag.fcurves if curve.data_path == path] if bag else []
    return {curve.array_index: curve for curve in curves if len(curve.keyframe_points)}


def _channelbag(owner: bpy.types.ID) -> bpy.types.ActionChannelbag | None:
    animation = owner.animation_data
    if not animation or not animation.action or animation.action_slot is None:
        return None
    strips = (strip for layer in animation.action.layers for strip in layer.strips)
    return next(filter(None, (strip.channelbag(animation.action_slot) for strip in strips)), None)


def ensure(owner: bpy.types.ID, path: str, index: int, group: str) -> bpy.types.FCurve:
    """The curve of one number of a property, made in the data-block's action when there is none."""
    animation = owner.animation_data_create()
    if animation.action is None:
        animation.action = bpy.data.actions.new(f"{owner.name}Action")
    if bpy.app.version >= (5, 0):
        return animation.action.fcurve_ensure_for_datablock(owner, path, index=index, group_name=group)
    curve = animation.action.fcurve_ensure_for_datablock(owner, path, index=index)
    bag = _channelbag(owner)
    if curve.group is None and bag:
        curve.group = bag.groups.get(group) or bag.groups.new(group)
    return curve


def remove(owner: bpy.types.ID, path: str) -> None:
    """Delete a property's curves."""
    bag = _channelbag(owner)
    if bag:
        for curve in [curve for curve in bag.fcurves if curve.data_path == path]:
            bag.fcurves.remove(curve)


def touch(owner: bpy.types.ID) -> None:
    """Have Blender evaluate and draw the curves anew."""
    if owner.animation_data and owner.animation_data.action:
        owner.animation_data.action.update_tag()
    owner.update_tag()
    sequencer.redraw(EDITORS)


def read(curve: bpy.types.FCurve, names: Sequence[str] = KEY.names or ()) -> Keys:
    """All keys, by frame; parts that are not named are zero."""
    keys = np.zeros(len(curve.keyframe_points), KEY)
    for name in names:
        values = np.zeros(keys[name].size, KEY[name].base)
        curve.keyframe_points.foreach_get(name, values)
        keys[name] = values.reshape(keys[name].shape)
    return keys


def evaluate(curve: bpy.types.FCurve, frames: range) -> list[float]:
    """The curve's values at consecutive frames, to the last bit those of `curve.evaluate`.

    Held and straight parts are computed for all frames at once, as Blender does it, which is many times faster; for
    all others Blender is asked.
    """
    keys, at = read(curve, ("co", "interpolation")), np.arange(frames.start, frames.stop, dtype=np.float32)
    x, y = np.ascontiguousarray(keys["co"].T)
    if len(curve.modifiers) or (np.diff(x) < 2 * NEAR).any():
        return list(map(curve.evaluate, frames))
    found = np.searchsorted(x, at)  # the first key that is not before the frame
    left, right = np.maximum(found - 1, 0), np.minimum(found, len(x) - 1)
    values, inside = _joined(x, y, keys["interpolation"] == LINEAR, at, left, right), left < right
    ask = ~np.isin(keys["interpolation"][left], (CONSTANT, LINEAR)) & inside & (x[right] != at)
    ask |= (np.minimum(abs(x[right] - at), abs(x[left] - at)) < NEAR) & (x[right] != at) & (x[left] != at)
    if curve.extrapolation != "CONSTANT":
        ask |= ~inside
    values[ask] = list(map(curve.evaluate, at[ask].tolist()))
    return values.tolist()


def _joined(x: NDArray, y: NDArray, straight: NDArray, at: NDArray, left: NDArray, right: NDArray) -> NDArray:
    """Values between neighbouring keys, in 32 bits and in the order in which Blender computes."""
    span = np.where(left < right, x[right] - x[left], np.float32(1))
    line = (y[right] - y[left]) * (at - x[left]) / span + y[left]
    return np.where(x[right] == at, y[right], np.where(straight[left], line, y[left]))


def write(curve: bpy.types.FCurve, keys: Keys) -> None:
    """Replace all keys."""
    points = curve.keyframe_points
    points.clear()
    points.add(len(keys))
    for name in KEY.names or ():
        points.foreach_set(name, np.ascontiguousarray(keys[name]).ravel())
    curve.update()


def copy(owner: bpy.types.ID, source: str, target: str, group: str) -> None:
    """Give a property the keys of another one."""
    for index, curve in find(owner, source).items():
        write(ensure(owner, target, index, group), read(curve))


def linear(frames: Sequence[float] | NDArray, values: Sequence[float] | NDArray) -> Keys:
    """Keys joined by straight lines."""
    keys = np.zeros(len(frames), KEY)
    for name in ("co", "handle_left", "handle_right"):
        keys[name] = np.column_stack([frames, values])
    keys["handle_left_type"] = keys["handle_right_type"] = VECTOR
    keys["interpolation"], keys["back"], keys["period"] = LINEAR, 1.70158, 4.1
    return keys


def splice(curve: bpy.types.FCurve, first: int, values: Sequence[float], constant: float) -> None:
    """Give the frames from `first` on these values; every other whole frame keeps the value it has.

    Args:
        constant: value of all frames while the curve has no keys.
    """
    end, old = first + len(values), read(curve)
    frames = old["co"][:, 0]
    start, stop = np.searchsorted(frames, first - 1, "right"), np.searchsorted(frames, end, "left")
    lead = range(math.floor(frames[start - 1]) + 1 if start else first - 1, first)
    tail = range(end, math.ceil(frames[stop]) if stop < len(old) else end + 1)
    before, after = _border(old[:start], -1, lead), _border(old[stop:], 0, tail)
    parts = (
        before,
        _bridge(curve, old[:start], lead, slice(-1, None), constant),
        linear(range(first, end), values),
        _bridge(curve, old[:stop], tail, slice(0, 1), constant),
        after,
    )
    write(curve, np.concatenate(parts))


def _border(keys: Keys, outermost: int, cut: range) -> Keys:
    """Keys beside a splice: the nearest one may not adapt its handles, nor bend what was cut off."""
    keys = keys.copy()
    if len(keys):
        keys["handle_left_type"][outermost] = keys["handle_right_type"][outermost] = FREE
        if outermost == -1 and cut and keys["interpolation"][-1] != CONSTANT:
            keys["interpolation"][-1] = LINEAR
    return keys


def _bridge(curve: bpy.types.FCurve, left: Keys, frames: range, nearest: slice, constant: float) -> Keys:
    """Keys for each frame of a segment that was cut off; `left` are those before it, the last one shapes it.

    Fewer would do for a straight line, were it not for the last bits of the values between them.
    """
    held = len(left) > 0 and left["interpolation"][-1] == CONSTANT
    if held:
        frames = frames[nearest]
    keyed = len(curve.keyframe_points) > 0
    keys = linear(frames, [curve.evaluate(frame) if keyed else constant for frame in frames])
    if held:
        keys["interpolation"] = CONSTANT
    return keys
