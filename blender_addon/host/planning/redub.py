"""A part of a take made anew: the frames of a range with the settings of now, all others as they are."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import bpy

from ...core import schema
from ...core.engines import POSE_KINDS
from ...core.errors import AddonError
from ...core.files import link_or_copy
from ...core.naming import frame_name
from ...core.output import Output
from ...core.plan import DubPlan, KeptFrames, PortraitSource, PoseSource
from ..bl import sequencer
from ..bl.sequencer import StripRef
from ..sources import footage, media, pose_keys, source_refs
from ..strips import takes
from ..strips.placement import Placement
from ..strips.takes import ShownTake
from . import scene_plan
from .scene_plan import SPEECH_FILE, Draft
from .scene_reading import SceneReading


def span(scene: bpy.types.Scene, strip: bpy.types.Strip) -> tuple[int, int]:
    """Timeline frames first <= f < end that a re-dub makes anew: the preview range within the strip, else the strip."""
    return pose_keys.working_range(scene, strip)


def draft(reading: SceneReading, strip: bpy.types.Strip) -> Draft:
    """Plan a new take of what a strip shows; raises AddonError.

    Sound, rate and picture size stay the take's; portrait and pose too, unless others are chosen now.
    """
    scene, shown = reading.scene, takes.shown(reading.scene, strip)
    old = shown.plan
    first, end = (frame - shown.start for frame in span(scene, strip))
    if first >= end:
        raise AddonError(f'The preview range does not touch "{strip.name}".', "Move it there, or clear it.")
    _require_frames(old)
    plan = replace(
        old,
        uid=uuid.uuid4().hex,
        first=max(first, old.take_first),
        end=min(end, old.take_end),
        kept=KeptFrames(old.folder, old.take_first, old.take_end),
        pose=_pose(reading, strip, shown),
        output=_output(reading, strip, shown),
        blink=_blink(reading, strip, shown),
        portrait=_portrait(reading, old),
        **schema.chosen_anew(reading.settings),
    )
    name = strip.get(sequencer.SOUND, old.folder.parent.name)
    made = scene_plan.placed(scene, Draft(plan, None, _placement(scene, strip, name, shown.start)), name)
    link_or_copy(old.folder / Path(old.speech.file).name, made.plan.folder / SPEECH_FILE)
    return made


def _require_frames(old: DubPlan) -> None:
    missing = [k for k in range(old.take_first, old.take_end) if not (old.folder / frame_name(k)).is_file()]
    if missing:
        raise AddonError(f"{len(missing)} frames of {old.name} are not there.", "Fetch or retry it first.")


def _portrait(reading: SceneReading, old: DubPlan) -> PortraitSource | None:
    chosen = reading.sources.given["portrait"]
    if chosen.strip is None or old.portrait is None or old.output.footage:
        return old.portrait
    return media.portrait(reading.scene, chosen.strip, reading.settings.portrait_crop, chosen.frame)


def _pose(reading: SceneReading, strip: bpy.types.Strip, shown: ShownTake) -> PoseSource:
    scene, kind = reading.scene, reading.settings.pose_kind
    if kind == "keyframes":
        if not pose_keys.is_keyed(scene, strip):
            raise AddonError(f'"{strip.name}" has no pose keyframes.', "Bake its pose first.")
        return reading.keyed_pose(strip, shown.start, shown.end)
    if kind != "strip":
        return PoseSource(POSE_KINDS[kind])
    chosen = reading.sources.given["pose"].strip
    if chosen is not None:
        return media.pose(scene, chosen, shown.start, shown.end, reading.settings.pose_crop)
    return shown.plan.pose


def _output(reading: SceneReading, strip: bpy.types.Strip, shown: ShownTake) -> Output:
    old, settings = shown.plan.output, reading.settings
    if old.footage is None:
        return replace(old, presence_mark=settings.presence_mark)
    rows = pose_keys.values(reading.scene, strip, footage.MOUTH_ONLY, shown.start, shown.end)
    return replace(
        old,
        feather=settings.feather,
        mouth_only=footage.alike(tuple(row[0] for row in rows)),
        keep_where_absent=settings.keep_where_absent,
        presence_mark=settings.presence_mark,
    )


def _blink(reading: SceneReading, strip: bpy.types.Strip, shown: ShownTake) -> tuple[float, ...]:
    if not reading.offer.heeds("blink"):
        return (0.0,)
    return footage.amounts(reading.scene, strip, shown.start, shown.end, footage.BLINK)


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
