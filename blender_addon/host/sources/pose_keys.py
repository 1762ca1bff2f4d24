"""The pose of a dub as keyframes of its strip.

A dub strip has two pose codes of 12 numbers, a factor that blends from the
first to the second, and three handles in degrees; the code of a frame is the
blended one, turned by the handles. All are properties of the strip itself:
Blender moves, splits, duplicates, renames and undoes their F-Curves with it.
Curves lie on the timeline; frames are read without moving the playhead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import bpy

from ...core import pose_curves
from ...core.engines import POSE_SIZE
from ...core.errors import AddonError
from ...core.plan import PoseSource
from ...core.pose_curves import Track
from ...core.pose_map import Row
from ..bl import fcurves, sequencer

FIRST, SECOND, BLEND = "posedub_pose", "posedub_pose_2", "posedub_blend"
HANDLES = ("posedub_yaw", "posedub_pitch", "posedub_roll")
SIZES = {FIRST: POSE_SIZE, SECOND: POSE_SIZE, BLEND: 1} | dict.fromkeys(HANDLES, 1)
GROUP = "Dub Pose"
SOURCE, SOURCE_START = "posedub_source", "posedub_source_start"
"""ID properties: the pose baked last, packed, and its first frame counted from the content's start."""


def is_keyed(scene: bpy.types.Scene, strip: bpy.types.Strip, names: Sequence[str] = tuple(SIZES)) -> bool:
    """Whether any of these properties has keys."""
    return not fcurves.paths(scene).isdisjoint(map(strip.path_from_id, names))


def active(scene: bpy.types.Scene) -> bpy.types.Strip | None:
    """The dub strip that the editor works on: the active one of those selected."""
    return next(filter(sequencer.is_dub, sequencer.selected(scene, ("IMAGE",))), None)


def working_range(scene: bpy.types.Scene, strip: bpy.types.Strip) -> tuple[int, int]:
    """Frames first <= f < end that tools work on: the strip's, within the preview range where one is set."""
    first, end = sequencer.left(strip), sequencer.right(strip)
    if scene.use_preview_range:
        return max(first, scene.frame_preview_start), min(end, scene.frame_preview_end + 1)
    return first, end


def values(scene: bpy.types.Scene, strip: bpy.types.Strip, name: str, first: int, end: int) -> Track:
    """A property for the timeline frames first <= f < end: a row each, keyed or not."""
    curves = fcurves.find(scene, strip.path_from_id(name))
    frames = range(first, end)
    columns = [
        fcurves.evaluate(curves[index], frames) if index in curves else [constant] * len(frames)
        for index, constant in enumerate(constants(strip, name))
    ]
    return list(zip(*columns, strict=True))


def constants(strip: bpy.types.Strip, name: str) -> Row:
    """A property's value where it has no keys."""
    value = getattr(strip, name)
    return tuple(value) if SIZES.get(name, 1) > 1 else (value,)


def codes(scene: bpy.types.Scene, strip: bpy.types.Strip, first: int, end: int) -> Track:
    """Pose codes without the handles, (frames, 12)."""
    track = values(scene, strip, FIRST, first, end)
    factors = [row[0] for row in values(scene, strip, BLEND, first, end)]
    if not any(factors):
        return track
    return pose_curves.blend(track, values(scene, strip, SECOND, first, end), factors)


def angles(scene: bpy.types.Scene, strip: bpy.types.Strip, first: int, end: int) -> Track:
    """Yaw, pitch and roll of the handles, (frames, 3)."""
    columns = [[row[0] for row in values(scene, strip, name, first, end)] for name in HANDLES]
    return list(zip(*columns, strict=True))


def bake(scene: bpy.types.Scene, strip: bpy.types.Strip, name: str, start: int, track: Track, tolerance: float) -> None:
    """Replace the keys of a pose code by a track whose first frame is `start`.

    Args:
        tolerance: leave out keys that straight lines miss by no more than this; 0 keeps one for each frame.
    """
    for index, column in enumerate(zip(*track, strict=True)):
        kept = pose_curves.decimated(column, tolerance) if tolerance > 0 else range(len(column))
        keys = fcurves.linear([start + k for k in kept], [column[k] for k in kept])
        fcurves.write(_curve(scene, strip, name, index), keys)
    if name == FIRST:
        strip[SOURCE], strip[SOURCE_START] = pose_curves.packed(track), start - sequencer.content_start(strip)
    fcurves.touch(scene)


def change(scene: bpy.types.Scene, strip: bpy.types.Strip, name: str, first: int, track: Track) -> None:
    """Key the frames from `first` on; all others keep their values."""
    unkeyed = constants(strip, name)
    for index, column in enumerate(zip(*track, strict=True)):
        fcurves.splice(_curve(scene, strip, name, index), first, column, unkeyed[index])
    fcurves.touch(scene)


def _curve(scene: bpy.types.Scene, strip: bpy.types.Strip, name: str, index: int) -> bpy.types.FCurve:
    return fcurves.ensure(scene, strip.path_from_id(name), index, GROUP)


def clear(scene: bpy.types.Scene, strip: bpy.types.Strip, names: Sequence[str]) -> None:
    """Remove the keys of these properties and set them back."""
    for name in names:
        fcurves.remove(scene, strip.path_from_id(name))
        strip.property_unset(name)
    fcurves.touch(scene)


def copy(scene: bpy.types.Scene, source: bpy.types.Strip, strip: bpy.types.Strip, names: Sequence[str]) -> None:
    """Give a strip at the same place of the timeline some properties of another one, with their keys."""
    for name in names:
        setattr(strip, name, getattr(source, name))
        fcurves.copy(scene, source.path_from_id(name), strip.path_from_id(name), GROUP)
    fcurves.touch(scene)


def inherit(scene: bpy.types.Scene, source: bpy.types.Strip, strip: bpy.types.Strip) -> None:
    """Give a strip at the same place of the timeline the pose of another one."""
    copy(scene, source, strip, tuple(SIZES))
    if SOURCE in source:
        moved = sequencer.content_start(source) - sequencer.content_start(strip)
        strip[SOURCE], strip[SOURCE_START] = source[SOURCE], source[SOURCE_START] + moved


def source_track(strip: bpy.types.Strip, first: int, end: int) -> Track:
    """The pose baked last, for the timeline frames first <= f < end; raises AddonError when there is none."""
    if SOURCE not in strip:
        raise AddonError(f'No pose was baked into "{strip.name}".', "Bake the pose.")
    track = pose_curves.unpacked(strip[SOURCE])
    start = sequencer.content_start(strip) + strip[SOURCE_START]
    return [track[min(max(frame - start, 0), len(track) - 1)] for frame in range(first, end)]


def for_dub(
    scene: bpy.types.Scene,
    sound: bpy.types.Strip,
    selected: bpy.types.Strip | None,
    names: Sequence[str] = tuple(SIZES),
) -> bpy.types.Strip | None:
    """The strip whose keyframes serve a dub of this sound: the selected dub, else the topmost one over it, else it."""
    if selected and is_keyed(scene, selected, names):
        return selected
    return next((strip for strip in (*_dubs_over(scene, sound), sound) if is_keyed(scene, strip, names)), None)


def dub_over(scene: bpy.types.Scene, sound: bpy.types.Strip) -> bpy.types.Strip | None:
    """The topmost dub over a sound, its own ones first; None where there is none."""
    return next(iter(_dubs_over(scene, sound)), None)


def _dubs_over(scene: bpy.types.Scene, sound: bpy.types.Strip) -> list[bpy.types.Strip]:
    first, end = sequencer.left(sound), sequencer.right(sound)
    over = [strip for strip in sequencer.strips(scene) if sequencer.is_dub(strip) and _distance(strip, first, end) == 0]
    return sorted(over, key=lambda strip: (strip.get(sequencer.SOUND) == sound.name, strip.channel), reverse=True)


def pose_source(scene: bpy.types.Scene, strip: bpy.types.Strip, first: int, end: int) -> PoseSource:
    """The keyframed pose for a dub of the timeline frames first <= f < end, read as `parts` says."""
    found = parts(scene, strip, first, end)
    rows = [row for part in found for row in codes(scene, *part)]
    turns = [row for part in found for row in angles(scene, *part)]
    return PoseSource("codes", codes=tuple(rows), angles=tuple(turns) if any(map(any, turns)) else ())


Part = tuple[bpy.types.Strip, int, int]


def parts(
    scene: bpy.types.Scene, strip: bpy.types.Strip, first: int, end: int, names: Sequence[str] = tuple(SIZES)
) -> list[Part]:
    """(piece, first, end) of the strips whose keyframes are read for the timeline frames first <= f < end.

    A strip that overlaps them is read as it lies on the timeline, its other pieces too where it was split; one
    that lies elsewhere is read from its left handle on.
    """
    if _distance(strip, first, end):
        begin = sequencer.left(strip)
        return [(strip, begin, begin + end - first)]
    pieces = _pieces(scene, strip, names)
    return list(_nearest(pieces, first, end)) if len(pieces) > 1 else [(strip, first, end)]


def _pieces(scene: bpy.types.Scene, strip: bpy.types.Strip, names: Sequence[str]) -> list[bpy.types.Strip]:
    """The strip and what was split off it, itself first."""
    uid, name = strip.get(sequencer.UID), strip.name
    pieces = [piece for piece in sequencer.strips(scene) if uid and piece.get(sequencer.UID) == uid]
    others = [piece for piece in pieces if piece.name != name and is_keyed(scene, piece, names)]
    return [strip, *sorted(others, key=lambda piece: -piece.channel)]


def _nearest(pieces: list[bpy.types.Strip], first: int, end: int) -> Iterator[Part]:
    """(piece, first, end) of the frames that each piece shows, or comes nearest to."""

    def owner(frame: int) -> int:
        return min(range(len(pieces)), key=lambda index: _distance(pieces[index], frame, frame + 1))

    for index, run in groupby(range(first, end), key=owner):
        frames = list(run)
        yield pieces[index], frames[0], frames[-1] + 1


def _distance(strip: bpy.types.Strip, first: int, end: int) -> int:
    """Frames between a strip and the frames first <= f < end; 0 when they overlap."""
    return max(0, first - sequencer.right(strip) + 1, sequencer.left(strip) - end + 1)
