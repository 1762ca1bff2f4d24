"""How a strip comes to be seen: by itself, or through effects and the meta strips around it.

Measured on Blender's renders: an effect is drawn in the place of an input that lies below it, unless it or its channel
is muted. Speed shows its input as it is at another frame; all other effects, adjustment layers and multicam strips,
and all modifiers, as it is at this one. Strobe, reversing and retiming count for movies, image sequences and meta
strips, and for Speed itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import bpy

from ...core.errors import AddonError
from . import fcurves, sequencer

DENOMINATOR = 10**5
"""Blender keeps a speed factor in 32 bits."""
PLAIN = {"use_flip_x": False, "use_flip_y": False, "color_saturation": 1, "color_multiply": 1, "blend_alpha": 1}
UNMOVED = {"offset_x": 0, "offset_y": 0, "scale_x": 1, "scale_y": 1, "rotation": 0}


@dataclass(frozen=True)
class Warp:
    """At timeline frame f is seen what the strip by itself would show at frame origin + rate * f."""

    origin: Fraction = Fraction(0)
    rate: Fraction = Fraction(1)

    def at(self, frame: int) -> Fraction:
        """The frame whose picture is seen."""
        return self.origin + self.rate * frame


@dataclass(frozen=True)
class Remark:
    """What an editor should know of a dub's timeline frames first <= f < end, as one sentence."""

    first: int
    end: int
    text: str


def effects(scene: bpy.types.Scene, strip: bpy.types.Strip) -> list[bpy.types.Strip]:
    """Effects drawn in the place of a strip where it lies, the nearest first."""
    holder, fed = sequencer.holder(scene, strip), [strip]
    for one in fed:  # which grows
        fed += [effect for effect in holder.strips if effect not in fed and _covers(holder, effect, one)]
    return fed[1:]


def _covers(holder: sequencer.Holder, effect: bpy.types.Strip, strip: bpy.types.Strip) -> bool:
    inputs = (getattr(effect, name, None) for name in ("input_1", "input_2"))
    return strip in inputs and effect.channel > strip.channel and not _muted(holder, effect)


def _muted(holder: sequencer.Holder, strip: bpy.types.Strip) -> bool:
    return bool(strip.mute or holder.channels[strip.channel].mute)


def top(scene: bpy.types.Scene, strip: bpy.types.Strip) -> int:
    """The channel above which a strip must lie to be seen over this one."""
    return max(one.channel for one in (strip, *effects(scene, strip)))


def warp(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Warp:
    """Which of a strip's frames is seen when; raises AddonError where that is no straight line."""
    for one in sequencer.around(strip):
        for problem in _unevenness(scene, one):
            raise AddonError(*problem)
    speeds = list(_speeds(scene, strip))
    if not speeds:
        return Warp()
    factor = _factor(scene, speeds[0]) if len(speeds) == 1 else Fraction(0)
    if factor <= 0:
        raise AddonError(
            f'The speed of "{strip.name}" changes under the effect "{speeds[-1].name}".',
            "Give it one fixed speed by Multiply, without interpolation, or render it to a file.",
        )
    start = sequencer.content_start(speeds[0])
    return Warp(start * (1 - factor), factor)


def _speeds(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Iterator[bpy.types.Strip]:
    for one in sequencer.around(strip):
        yield from (effect for effect in effects(scene, one) if effect.type == "SPEED")


def _factor(scene: bpy.types.Scene, speed: bpy.types.Strip) -> Fraction:
    """How much faster a Speed effect shows its input; 0 when that changes, or pictures are mixed."""
    keyed = fcurves.find(scene, speed.path_from_id("speed_factor"))
    if keyed or speed.use_frame_interpolate or any(_unevenness(scene, speed)):
        return Fraction(0)
    if speed.speed_control == "MULTIPLY":
        return Fraction(speed.speed_factor).limit_denominator(DENOMINATOR)
    if speed.speed_control == "STRETCH":
        source = speed.input_1
        trimmed = sequencer.left(source) - sequencer.content_start(source)
        played = sequencer.right(speed) - sequencer.left(speed)
        return Fraction(sequencer.content_length(source) - trimmed, max(1, played))
    return Fraction(0)


def _unevenness(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Iterator[tuple[str, str]]:
    """Why a strip does not show its content frame by frame, and what to do about it."""
    name = f'The {"meta strip" if strip.type == "META" else "strip"} "{strip.name}"'
    if sequencer.is_retimed(strip):
        yield f"{name} is retimed.", "Reset its retiming, or render it to a file."
    if strip.use_reverse_frames:
        yield f"{name} plays backwards.", "Turn that off, or render it to a file."
    if strip.strobe > 1 or fcurves.find(scene, strip.path_from_id("strobe")):
        yield f"{name} holds pictures by its strobe.", "Set its strobe to 1 without keys, or render it to a file."


def require_fit(scene: bpy.types.Scene, strip: bpy.types.Strip, first: int, end: int) -> None:
    """Raise AddonError where a strip over this one would not fit it in the timeline frames first <= f < end."""
    for effect in effects(scene, strip):
        if effect.type == "TRANSFORM" or (effect.type == "SPEED" and not _is_plain(scene, effect)):
            raise AddonError(
                f'The effect "{effect.name}" moves or changes the picture of "{strip.name}", not that of a dub.',
                f'Set that on "{strip.name}" itself, whose look the dub takes over.',
            )
    outer = [effect for one in sequencer.around(strip)[1:] for effect in effects(scene, one)]
    for effect in (effect for effect in outer if effect.type == "SPEED"):
        raise AddonError(
            f'The effect "{effect.name}" would change the speed of a dub of "{strip.name}" too.',
            f'Give the effect to "{strip.name}" in the meta strip, or render that to a file.',
        )
    for camera in _over(scene, strip, "MULTICAM", first, end):
        raise AddonError(
            f'The multicam strip "{camera.name}" would not show a dub over "{strip.name}".',
            f'Make "{strip.name}" a meta strip (Ctrl G); the dub is laid into it.',
        )


def remarks(scene: bpy.types.Scene, strip: bpy.types.Strip, first: int, end: int) -> Iterator[Remark]:
    """What changes a strip's picture in the timeline frames first <= f < end, and not that of a dub over it."""
    changing = [effect for effect in effects(scene, strip) if effect.type != "SPEED"]
    layers = [layer for layer in _over(scene, strip, "ADJUSTMENT", first, end) if not _is_plain(scene, layer)]
    dub = sequencer.free_channel(sequencer.holder(scene, strip), first, end, top(scene, strip))
    for one in changing:
        text = f'The effect "{one.name}" changes "{strip.name}", not the dub over it; change or fade that there too.'
        yield from _within(one, first, end, text)
    for layer in (layer for layer in layers if layer.channel < dub):
        text = f'The adjustment layer "{layer.name}" lies under the dub and does not change it; move it above.'
        yield from _within(layer, first, end, text)


def _within(one: bpy.types.Strip, first: int, end: int, text: str) -> Iterator[Remark]:
    begin, stop = max(first, sequencer.left(one)), min(end, sequencer.right(one))
    if begin < stop:
        yield Remark(begin, stop, text)


def _over(scene: bpy.types.Scene, strip: bpy.types.Strip, kind: str, first: int, end: int) -> Iterator[bpy.types.Strip]:
    """Strips of a kind above a strip that show it somewhere in the timeline frames first <= f < end."""
    holder = sequencer.holder(scene, strip)
    for one in holder.strips:
        overlaps = sequencer.left(one) < end and first < sequencer.right(one)
        if one.type == kind and overlaps and one.channel > strip.channel and not _muted(holder, one):
            yield one


def _is_plain(scene: bpy.types.Scene, effect: bpy.types.Strip) -> bool:
    """Whether an effect shows its picture where and as it gets it, but for what the effect is for."""
    crop = dict.fromkeys(("min_x", "max_x", "min_y", "max_y"), 0)
    parts = ((effect, PLAIN), (effect.transform, UNMOVED), (effect.crop, crop))
    path = effect.path_from_id()
    keyed = any(one.startswith(path) for one in fcurves.paths(scene))
    same = all(getattr(owner, name) == value for owner, values in parts for name, value in values.items())
    return same and not keyed and not effect.modifiers
