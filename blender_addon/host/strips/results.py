"""The result on the timeline: an image strip that grows with the frames saved.

A strip only ever holds pictures that lie complete on disk, and only its number
of pictures is changed; the editor may move, trim or split it meanwhile.
"""

from __future__ import annotations

import time

import bpy

from ...core import naming
from ...core.jobs import JobRecord
from ..bl import sequencer, visibility
from ..bl.sequencer import JOB, SOUND, VERSION, StripRef
from ..sources import footage, pose_keys
from ..sources.source_refs import SOURCES
from . import take_replacement
from .placement import Placement, dub_start

COLOR = "COLOR_05"


def strip_name(record: JobRecord, placement: Placement) -> str:
    """`Dub <source> v001`, marked when the weights are not trained."""
    marks = " untrained" if record.weights_kind == "untrained" else ""
    return sequencer.shortened(placement.sound.name, "Dub", record.plan.folder.name + marks)


def find(scene: bpy.types.Scene, record: JobRecord, placement: Placement) -> bpy.types.Strip | None:
    """The strip of a job's result."""
    strip = sequencer.find(scene, StripRef(record.plan.uid, strip_name(record, placement)))
    return strip if strip and strip.get(sequencer.UID) == record.plan.uid else None


def timeline_frame(record: JobRecord, placement: Placement | None, index: int) -> int:
    """Where dub frame `index` is shown now: by the dub's strip, else where it was to go."""
    scene = sequencer.scene_by_uid(placement.scene) if placement else None
    if scene is None or placement is None:
        return index
    strip = find(scene, record, placement)
    if strip is None:
        return placement.first_frame(scene) + index
    return dub_start(strip, record.plan) + index


def stage(placement: Placement) -> bpy.types.Scene | None:
    """The scene that a result goes into; None while it is gone, or has no sequencer."""
    scene = sequencer.scene_by_uid(placement.scene)
    return scene if scene and scene.sequence_editor else None


def absence(placement: Placement) -> str:
    """Why a result cannot be shown now, a sentence; "" when it can."""
    if stage(placement):
        return ""
    scene = sequencer.scene_by_uid(placement.scene)
    return f'The scene "{scene.name}" has no sequencer now.' if scene else "Its scene is gone."


def grow(record: JobRecord, placement: Placement, deadline: float, create: bool) -> bool:
    """Bring the strip up to the frames saved; whether it is.

    Args:
        deadline: time.monotonic() after which the rest waits for the next call.
        create: make the strip when it is not there; raises AddonError for want of a channel.
    """
    scene = stage(placement)
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
    into = sequencer.find(scene, placement.footage) if placement.footage else None
    # On footage in a meta strip the dub lies there too, and is moved and scaled with it.
    holder, above = scene.sequence_editor, placement.above
    if into:
        holder, above = sequencer.holder(scene, into), visibility.top(scene, into)
    channel = sequencer.free_channel(holder, start, start + plan.take_end - plan.take_first, above)
    file = plan.folder / naming.frame_name(plan.take_first)
    strip = sequencer.new_image_strip(holder, strip_name(record, placement), file, channel, start)
    strip.color_tag, strip.select = COLOR, False
    strip[sequencer.UID], strip[VERSION] = plan.uid, plan.folder.name
    strip[JOB], strip[SOUND], strip[SOURCES] = record.job_id, placement.sound.name, placement.sources
    posed = sequencer.find(scene, placement.pose) if placement.pose else None
    if posed:
        pose_keys.inherit(scene, posed, strip)
    keyed = sequencer.find(scene, placement.mouth_only) if placement.mouth_only else None
    setattr(strip, footage.BLINK, record.plan.blink[0])
    if keyed:
        pose_keys.copy(scene, keyed, strip, (footage.BLINK,))
    if into:
        _settle(scene, record, strip, into, keyed)
    take_replacement.mark(scene, strip, plan)
    return strip


def _settle(
    scene: bpy.types.Scene,
    record: JobRecord,
    strip: bpy.types.Strip,
    into: bpy.types.Strip,
    keyed: bpy.types.Strip | None,
) -> None:
    """Fit the strip onto the footage, and note on it how much of the face was dubbed."""
    footage.lay_over(scene, strip, into)
    setattr(strip, footage.MOUTH_ONLY, record.plan.output.mouth_only[0])
    if keyed:
        pose_keys.copy(scene, keyed, strip, (footage.MOUTH_ONLY,))


def may_settle(placement: Placement) -> bool:
    """Whether a result can be made an undo step: where a redo is possible, that would take it from the editor."""
    return stage(placement) is not None and not sequencer.may_redo()


def finish(record: JobRecord, placement: Placement) -> bool:
    """Put a complete take in the place of an older one, show the pictures anew, and make that one undo step.

    Returns:
        False when it is to be done again: there is no sequencer now, or a redo is possible.
    """
    scene = stage(placement)
    if scene is None:
        return not record.saved
    strip = find(scene, record, placement)
    if strip is None:
        return True
    strip[JOB] = record.job_id
    if record.state == "done":
        take_replacement.succeed(scene, strip, placement.replaces, (placement.pose, placement.mouth_only))
    sequencer.refresh(scene)
    if not may_settle(placement):
        return False
    bpy.ops.ed.undo_push(message=f"Dub {record.plan.name}")
    return True
