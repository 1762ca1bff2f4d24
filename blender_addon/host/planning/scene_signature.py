"""Whether anything has changed that the next dub of a scene depends on, found out without planning it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import bpy

from ..bl import fcurves, sequencer, visibility
from ..sources import pose_keys, select

PLAYED = ("strobe", "use_reverse_frames", "stream_index", "speed_control", "speed_factor")
STRIP_VALUES = ("animation_offset_start", "sound_offset", "volume", "mute", "filepath", "directory", *PLAYED)
KEYED = tuple(f".{name}" for name in ("volume", "strobe", "speed_factor"))


def signature(scene: bpy.types.Scene) -> Hashable:
    """A value that is another one when settings, sources, their place or their keys are."""
    used = _used(scene)
    return (
        tuple(_settings(scene)),
        sequencer.fps(scene),
        tuple(_strip(one) for strip in used for one in _seen(scene, strip)),
        scene.frame_current if any(map(sequencer.is_moving, used)) else 0,
        hash(tuple(_keys(scene))),
    )


def _settings(scene: bpy.types.Scene) -> Iterator[tuple[str, Hashable]]:
    values = scene.posedub
    for prop in values.bl_rna.properties:
        if prop.type not in ("POINTER", "COLLECTION"):
            value = getattr(values, prop.identifier)
            yield prop.identifier, value if isinstance(value, (str, int, float)) else tuple(value)


def _used(scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    """The strips that a dub would be made from."""
    chosen = [select.choose(scene, role).strip for role in select.KINDS]
    sounds = select.sounds(scene)
    posed = pose_keys.for_dub(scene, sounds[0]) if sounds else None
    return [strip for strip in (*chosen, *sounds, posed) if strip is not None]


def _seen(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Iterator[bpy.types.Strip]:
    """The strip, the meta strips around it, and the effects through which it is seen."""
    for one in sequencer.around(strip):
        yield from (one, *visibility.effects(scene, one))


def _strip(strip: bpy.types.Strip) -> Hashable:
    own = {name: str(value) for name, value in strip.items() if name != pose_keys.SOURCE}
    values = [str(getattr(strip, name, "")) for name in STRIP_VALUES]
    pose = [value for name in pose_keys.SIZES for value in pose_keys.constants(strip, name)]
    place = sequencer.left(strip), sequencer.right(strip), sequencer.content_start(strip)
    return strip.name, strip.channel, place, tuple(values), tuple(pose), tuple(sorted(own.items()))


def _keys(scene: bpy.types.Scene) -> Iterator[Hashable]:
    for path in sorted(fcurves.paths(scene)):
        if "posedub_" in path or path.endswith(KEYED):
            for index, curve in fcurves.find(scene, path).items():
                yield path, index, fcurves.read(curve, fcurves.SHAPE).tobytes()
