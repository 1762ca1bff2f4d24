"""A part of a take made anew: the frames of a range with the settings of now, all others as they are."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import bpy

from ...core.errors import AddonError
from ...core.files import link_or_copy
from ...core.naming import frame_name
from ...core.output import Output
from ...core.plan import DubPlan, KeptFrames, PoseSource
from ..bl import sequencer
from ..bl.sequencer import StripRef
from ..sources import footage, media, pose_keys, select, source_refs
from ..strips import takes
from ..strips.placement import Placement
from . import scene_plan
from .scene_plan import SPEECH_FILE, Draft


def span(scene: bpy.types.Scene, strip: bpy.types.Strip) -> tuple[int, int]:
    """Timeline frames first <= f < end that a re-dub makes anew: the preview range within the strip, else the strip."""
    return pose_keys.working_range(scene, strip)


def draft(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Draft:
    """Plan a new take of what a strip shows; raises AddonError.

    Sound, rate and picture size stay the take's; portrait and pose too, unless others are chosen now.
    """
    old = takes.take_of(scene, strip)
    start = sequencer.first_picture(strip) - old.take_first
    first, end = (frame - start for frame in span(scene, strip))
    if first >= end:
        raise AddonError(f'The preview range does not touch "{strip.name}".', "Move it there, or clear it.")
    _require_frames(old)
    values = scene.posedub
    plan = replace(
        old,
        uid=uuid.uuid4().hex,
        first=max(first, old.take_first),
        end=min(end, old.take_end),
        kept=KeptFrames(old.folder, old.take_first, old.take_end),
        pose=_pose(scene, strip, old, start),
        mouth_strength=round(values.mouth_strength, 6),
        seed=values.seed,
        precision=values.precision,
        output=_output(scene, strip, old, start),
    )
    chosen = select.given(scene, "portrait")
    if chosen.strip is not None and old.output.footage is None:
        plan = replace(plan, portrait=media.portrait(scene, chosen.strip, values.portrait_crop, chosen.frame))
    name = strip.get(sequencer.SOUND, old.folder.parent.name)
    made = scene_plan.placed(scene, Draft(plan, None, _placement(scene, strip, name, start)), name)
    link_or_copy(old.folder / Path(old.speech.file).name, made.plan.folder / SPEECH_FILE)
    return made


def _require_frames(old: DubPlan) -> None:
    missing = [k for k in range(old.take_first, old.take_end) if not (old.folder / frame_name(k)).is_file()]
    if missing:
        raise AddonError(f"{len(missing)} frames of {old.name} are not there.", "Fetch or retry it first.")


def _pose(scene: bpy.types.Scene, strip: bpy.types.Strip, old: DubPlan, start: int) -> PoseSource:
    values, end = scene.posedub, start + old.frame_count
    if values.pose_kind == "keyframes":
        if not pose_keys.is_keyed(scene, strip):
            raise AddonError(f'"{strip.name}" has no pose keyframes.', "Bake its pose first.")
        return pose_keys.pose_source(scene, strip, start, end)
    if values.pose_kind != "strip":
        return PoseSource(values.pose_kind)
    chosen = select.given(scene, "pose").strip
    if chosen is not None:
        return media.pose(scene, chosen, start, end, values.pose_crop)
    return old.pose


def _output(scene: bpy.types.Scene, strip: bpy.types.Strip, old: DubPlan, start: int) -> Output:
    if old.output.footage is None:
        return old.output
    values, end = scene.posedub, start + old.frame_count
    amounts = tuple(row[0] for row in pose_keys.values(scene, strip, footage.MOUTH_ONLY, start, end))
    return replace(
        old.output,
        feather=round(values.feather, 6),
        mouth_only=amounts if len(set(amounts)) > 1 else amounts[:1],
        keep_where_absent=values.keep_where_absent,
    )


def _placement(scene: bpy.types.Scene, strip: bpy.types.Strip, name: str, start: int) -> Placement:
    sound = StripRef("", name)
    lies, itself = sequencer.find(scene, sound), sequencer.reference(strip)
    return Placement(
        scene.session_uid,
        sequencer.reference(lies) if lies else sound,
        start,
        sequencer.content_start(strip),
        sequencer.outer_channel(strip),
        pose=itself,
        footage=itself,  # the new take lies where the old one does, and as it does
        mouth_only=itself,
        replaces=itself,
        sources=strip.get(source_refs.SOURCES, ""),
    )
