"""The result on the timeline: an image strip that grows with the frames saved.

A strip only ever holds pictures that lie complete on disk, and only its number
of pictures is changed; the editor may move, trim or split it meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import bpy

from ..core import naming
from ..core.jobs import JobRecord
from . import pose_keys, sequencer
from .sequencer import JOB, SOUND, VERSION, StripRef

COLOR = "COLOR_05"


@dataclass(frozen=True)
class Placement:
    """Where a dub goes: over which sound strip of which scene.

    Attributes:
        scene: Blender's session uid of the scene.
        sound: the sound strip, followed when it was moved meanwhile.
        start: timeline frame of dub frame 0.
        anchor: frame at which the sound's content began then.
        above: channel of the sound.
        pose: the strip whose keyframes pose the dub, which the result takes over.
    """

    scene: int
    sound: StripRef
    start: int
    anchor: int
    above: int
    pose: StripRef | None = None

    @staticmethod
    def over(scene: bpy.types.Scene, strip: bpy.types.Strip, pose: bpy.types.Strip | None = None) -> Placement:
        """Place a dub over a sound strip."""
        return Placement(
            scene.session_uid,
            sequencer.reference(strip),
            sequencer.left(strip),
            sequencer.content_start(strip),
            sequencer.outer_channel(strip),
            sequencer.reference(pose) if pose else None,
        )

    def first_frame(self, scene: bpy.types.Scene) -> int:
        """Timeline frame of dub frame 0 where the sound lies now."""
        strip = sequencer.find(scene, self.sound)
        return self.start + (sequencer.content_start(strip) - self.anchor if strip else 0)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the scene: it holds them."""
        values = asdict(self)
        del values["scene"]
        return values

    @staticmethod
    def from_json(data: dict[str, Any], scene: bpy.types.Scene) -> Placement:
        """Inverse of `to_json`; raises KeyError or TypeError for other data."""
        pose = data.get("pose")
        refs = {"sound": StripRef(**data["sound"]), "pose": StripRef(**pose) if pose else None}
        return Placement(**data | refs | {"scene": scene.session_uid})


def strip_name(record: JobRecord, placement: Placement) -> str:
    """`Dub <source> v001`, marked when the weights are not trained."""
    marks = " untrained" if record.weights_kind == "untrained" else ""
    return sequencer.shortened(placement.sound.name, "Dub", record.plan.folder.name + marks)


def find(scene: bpy.types.Scene, record: JobRecord, placement: Placement) -> bpy.types.Strip | None:
    """The strip of a job's result."""
    return sequencer.find(scene, StripRef(record.plan.uid, strip_name(record, placement)))


def grow(record: JobRecord, placement: Placement, deadline: float, create: bool) -> bool:
    """Bring the strip up to the frames saved; whether it is.

    Args:
        deadline: time.monotonic() after which the rest waits for the next call.
        create: make the strip when it is not there; raises AddonError for want of a channel.
    """
    scene = sequencer.scene_by_uid(placement.scene)
    if scene is None or not record.saved:
        return True
    strip = find(scene, record, placement) or (_create(scene, record, placement) if create else None)
    if strip is None:
        return True
    first = record.plan.take_first
    while len(strip.elements) < record.shown:
        strip.elements.append(naming.frame_name(first + len(strip.elements)))
        if time.monotonic() > deadline:
            break
    return len(strip.elements) >= record.shown


def _create(scene: bpy.types.Scene, record: JobRecord, placement: Placement) -> bpy.types.Strip:
    plan = record.plan
    start = placement.first_frame(scene) + plan.take_first
    end = start + plan.take_end - plan.take_first
    channel = sequencer.free_channel(scene, start, end, placement.above)
    file = plan.folder / naming.frame_name(plan.take_first)
    strip = sequencer.new_image_strip(scene, strip_name(record, placement), file, channel, start)
    strip.color_tag, strip.select = COLOR, False
    strip[sequencer.UID], strip[VERSION] = plan.uid, plan.folder.name
    strip[JOB], strip[SOUND] = record.job_id, placement.sound.name
    posed = sequencer.find(scene, placement.pose) if placement.pose else None
    if posed:
        pose_keys.inherit(scene, posed, strip)
    return strip


def finish(record: JobRecord, placement: Placement) -> None:
    """Show the pictures anew and make the insertion one undo step."""
    scene = sequencer.scene_by_uid(placement.scene)
    strip = find(scene, record, placement) if scene else None
    if scene is None or strip is None:
        return
    strip[JOB] = record.job_id
    sequencer.refresh(scene)
    bpy.ops.ed.undo_push(message=f"Dub {record.plan.name}")
