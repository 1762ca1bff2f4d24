"""From the scene to a plan: the only place where a dub's parameters are read from Blender."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from ..core import naming
from ..core.errors import AddonError
from ..core.plan import DubPlan, PoseSource, SpeechSource
from ..core.settings import DubSettings
from . import audio, media, pose_keys, preferences, recovery, sequencer, sources
from .results import Placement

SPEECH_FILE = "speech.wav"


@dataclass(frozen=True)
class Draft:
    """A dub about to start: its plan, the sound still to be cut if any, and where the result goes."""

    plan: DubPlan
    sound: audio.SoundCut | None
    placement: Placement


def draft(scene: bpy.types.Scene) -> Draft:
    """Plan a dub of the scene's sources into a new version folder; raises AddonError."""
    made = look(scene, Path())
    strip = sources.choose(scene, "audio").require()
    folder = _version_folder(takes_folder(strip.name))
    plan = replace(
        made.plan, name=f"{strip.name} {folder.name}", folder=folder, speech=SpeechSource(folder / SPEECH_FILE)
    )
    recovery.note(folder, scene, made.placement)
    return replace(made, plan=plan)


def look(scene: bpy.types.Scene, folder: Path) -> Draft:
    """The same for a folder that is not made; raises AddonError."""
    strip = sources.choose(scene, "audio").require()
    portrait_strip = sources.choose(scene, "portrait").require()
    values, begin, end = scene.posedub, sequencer.left(strip), sequencer.right(strip)
    portrait = media.portrait(scene, portrait_strip, values.portrait_face())
    posed = pose_keys.for_dub(scene, strip) if values.pose_kind == "keyframes" else None
    pose, cut = _pose(scene, begin, end, posed), audio.read_cut(scene, strip)
    plan = DubPlan(
        uid=uuid.uuid4().hex,
        name=strip.name,
        folder=folder,
        portrait=portrait,
        speech=SpeechSource(folder / SPEECH_FILE),
        pose=pose,
        fps=cut.fps,
        frame_count=end - begin,
        first=0,
        end=end - begin,
        mouth_strength=round(values.mouth_strength, 6),  # Blender keeps 32 bits of it
        seed=values.seed,
        precision=values.precision,
        size=int(values.size),
    )
    return Draft(plan, cut, Placement.over(scene, strip, posed))


def _pose(scene: bpy.types.Scene, begin: int, end: int, posed: bpy.types.Strip | None) -> PoseSource:
    values = scene.posedub
    if values.pose_kind == "keyframes":
        if posed is None:
            raise AddonError("No dub strip has pose keyframes here.", "Bake the pose of a dub first.")
        return pose_keys.pose_source(scene, posed, begin, end)
    if values.pose_kind != "strip":
        return PoseSource(values.pose_kind)
    return media.pose(scene, sources.choose(scene, "pose").require(), begin, end, values.pose_face())


def takes_folder(name: str) -> Path:
    """Where the takes of a sound strip of that name lie."""
    return all_takes() / naming.safe_name(name)


def all_takes() -> Path:
    """Where the takes of the open file lie, by sound strip."""
    return Path(bpy.path.abspath(DubSettings.folder)) if bpy.data.filepath else preferences.user_folder("dubs")


def _version_folder(parent: Path) -> Path:
    try:
        return naming.next_version(parent)
    except OSError as error:
        raise AddonError(
            f"{parent} takes no new folder: {error.strerror}.", "Save the .blend file elsewhere."
        ) from error
