"""From the scene to a plan: the only place where a dub's parameters are read from Blender."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from ...core import naming, timebase
from ...core.errors import AddonError
from ...core.plan import DubPlan, PoseSource, SpeechSource
from ...core.settings import DubSettings
from .. import preferences
from ..bl import sequencer, visibility
from ..sources import audio, audio_tracks, footage, media, pose_keys, select, source_refs
from ..strips import recovery
from ..strips.placement import Placement

SPEECH_FILE = "speech.wav"


@dataclass(frozen=True)
class Draft:
    """A dub about to start: its plan, the sound still to be cut if any, where the result goes, what should be known."""

    plan: DubPlan
    sound: audio.SoundMix | None
    placement: Placement
    remarks: tuple[visibility.Remark, ...] = ()


def drafts(scene: bpy.types.Scene, how: str) -> list[Draft]:
    """Plan the dubs of several sound strips; raises AddonError.

    Args:
        how: "active" for the chosen strip only, "each" for a dub of each selected strip that is heard, "together" for
            one dub of all that they play.
    """
    strips = select.sounds(scene)
    each = [[strip] for strip in strips if not sequencer.is_muted(scene, strip)]
    found: list[Draft] = []
    with ExitStack() as made:
        for group in each if how == "each" else [strips if how == "together" else []]:
            found.append(draft(scene, group))
            made.enter_context(kept_if_done(found[-1].plan.folder))
    return found


def draft(scene: bpy.types.Scene, sounds: Sequence[bpy.types.Strip] = ()) -> Draft:
    """Plan a dub of sound strips, the chosen one by default, into a new version folder; raises AddonError."""
    made = look(scene, Path(), sounds)
    return placed(scene, made, (sounds or select.spoken(scene))[0].name)


def placed(scene: bpy.types.Scene, made: Draft, name: str) -> Draft:
    """The draft in a new version folder of the dubs of a sound strip of that name; raises AddonError."""
    folder = _version_folder(takes_folder(name))
    speech = replace(made.plan.speech, file=folder / SPEECH_FILE)
    with kept_if_done(folder):
        recovery.note(folder, scene, made.placement)
    return replace(made, plan=replace(made.plan, name=f"{name} {folder.name}", folder=folder, speech=speech))


def look(scene: bpy.types.Scene, folder: Path, sounds: Sequence[bpy.types.Strip] = ()) -> Draft:
    """The same for a folder that is not made; raises AddonError."""
    sounds = sounds or select.spoken(scene)
    values, strip = scene.posedub, sounds[0]
    sound = audio.read_mix(scene, sounds)
    into = None if values.output == "crop" else select.choose(scene, "footage").require()
    first, end = _range(scene, sound, into)
    posed = pose_keys.for_dub(scene, strip) if values.pose_kind == "keyframes" else None
    face = select.choose(scene, "portrait")
    portrait = media.portrait(scene, face.require(), values.portrait_crop, face.frame)
    pose, output = _pose(scene, first, end, posed), footage.output(scene, strip, first, end)
    plan = DubPlan(
        uid=uuid.uuid4().hex,
        name=strip.name,
        folder=folder,
        portrait=portrait,
        speech=SpeechSource(folder / SPEECH_FILE, timebase.frames_to_seconds(first - sound.first, sound.fps)),
        pose=pose,
        fps=sound.fps,
        frame_count=end - first,
        first=0,
        end=end - first,
        mouth_strength=round(values.mouth_strength, 6),  # Blender keeps 32 bits of it
        seed=values.seed,
        precision=values.precision,
        size=int(values.size),
        output=output,
    )
    placement = Placement.over(scene, sounds, first, into, posed, footage.keyed(scene, strip) if into else None)
    remarks = [visibility.Remark(first, end, text) for text in audio_tracks.notices(scene, sounds)]
    remarks += _remarks(scene, sound, into, first, end) if into else ()
    return Draft(plan, sound, replace(placement, sources=_origin(scene, sounds, face)), tuple(remarks))


def _origin(scene: bpy.types.Scene, sounds: Sequence[bpy.types.Strip], face: select.Choice) -> str:
    """The note on the strips that the dub is made from, those it does not need now too."""
    others = {role: [strip] for role in ("pose", "footage") if (strip := select.choose(scene, role).strip)}
    return source_refs.note(face.frame, {"audio": sounds, "portrait": [face.require()], **others})


def _range(scene: bpy.types.Scene, sound: audio.SoundMix, into: bpy.types.Strip | None) -> tuple[int, int]:
    """Timeline frames first <= f < end to dub: those with sound, in footage those that it plays."""
    first, end = sound.first, sound.first + sound.frames
    if into is None:
        return first, end
    media.require_plain(scene, into)
    if not media.is_playable(into):
        raise AddonError(
            f'Blender shows nothing of the footage "{into.name}": its file states no frame rate.',
            "Convert it, and replace the strip.",
        )
    begin, stop = media.playing(scene, into)
    visibility.require_fit(scene, into, first, end)
    if max(first, begin) >= min(end, stop):
        raise AddonError(f'The footage "{into.name}" does not play while the sound does.', "Move one over the other.")
    return max(first, begin), min(end, stop)


def _remarks(
    scene: bpy.types.Scene, sound: audio.SoundMix, into: bpy.types.Strip, first: int, end: int
) -> Iterator[visibility.Remark]:
    """What an editor should know of a dub into footage of the timeline frames first <= f < end."""
    yield from visibility.remarks(scene, into, first, end)
    begin, stop = sequencer.span(into)
    before = max(sound.first, begin), first
    behind = end, min(sound.first + sound.frames, stop)
    for held, until in (before, behind):
        if held < until:
            yield visibility.Remark(held, until, f'"{into.name}" holds a picture here, which is not dubbed.')


def _pose(scene: bpy.types.Scene, begin: int, end: int, posed: bpy.types.Strip | None) -> PoseSource:
    values = scene.posedub
    if values.pose_kind == "keyframes":
        if posed is None:
            raise AddonError("No dub strip has pose keyframes here.", "Bake the pose of a dub first.")
        return pose_keys.pose_source(scene, posed, begin, end)
    if values.pose_kind != "strip":
        return PoseSource(values.pose_kind)
    return media.pose(scene, select.choose(scene, "pose").require(), begin, end, values.pose_crop)


def takes_folder(name: str) -> Path:
    """Where the takes of a sound strip of that name lie."""
    return all_takes() / naming.safe_name(name)


def all_takes() -> Path:
    """Where the takes of the open file lie, by sound strip."""
    return Path(bpy.path.abspath(DubSettings.folder)) if bpy.data.filepath else preferences.user_folder("dubs")


@contextmanager
def kept_if_done(folder: Path) -> Iterator[None]:
    """A version folder just made is discarded when the block raises AddonError."""
    try:
        yield
    except AddonError:
        discard(folder)
        raise


def discard(folder: Path) -> None:
    """Remove a version folder, and those around it that hold nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        for parent in (folder.parent, folder.parent.parent):
            parent.rmdir()


def _version_folder(parent: Path) -> Path:
    try:
        return naming.next_version(parent)
    except OSError as error:
        raise AddonError(
            f"{parent} takes no new folder: {error.strerror}.", "Save the .blend file elsewhere."
        ) from error
