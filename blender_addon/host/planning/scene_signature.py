"""Whether anything has changed that the next dub of a scene depends on, found out without planning it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import bpy

from ..bl import fcurves, sequencer, visibility
from ..sources import pose_keys
from .scene_reading import SceneReading

PLAYED = ("strobe", "use_reverse_frames", "stream_index", "speed_control", "speed_factor")
STRIP_VALUES = ("animation_offset_start", "sound_offset", "volume", "mute", "filepath", "directory", *PLAYED)
KEYED = tuple(f".{name}" for name in ("volume", "strobe", "speed_factor"))


def signature(reading: SceneReading) -> Hashable:
    """A value that is another one when settings, sources, their place or their keys are, or what the server takes."""
    scene, used = reading.scene, _used(reading)
    return (
        reading.settings,
        reading.offer,
        sequencer.fps(scene),
        tuple(_strip(one) for strip in used for one in _seen(scene, strip)),
        scene.frame_current if any(map(sequencer.is_moving, used)) else 0,
        hash(tuple(_keys(scene))),
    )


def _used(reading: SceneReading) -> list[bpy.types.Strip]:
    """The strips that a dub would be made from."""
    chosen = [choice.strip for choice in reading.sources.chosen.values()]
    return [strip for strip in (*chosen, *reading.sources.sounds, reading.posed) if strip is not None]


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
