"""From a reading of the scene to the plan of a dub, in a folder of its own."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from ...core import naming, schema, timebase
from ...core.engines import POSE_KINDS, USUAL, Offer
from ...core.errors import AddonError
from ...core.output import Output
from ...core.plan import DubPlan, PortraitSource, PoseSource, SpeechSource
from ...core.settings import TAKES
from .. import preferences
from ..bl import sequencer, visibility
from ..sources import audio, audio_tracks, footage, media, pose_keys, select, source_refs
from ..strips import recovery
from ..strips.placement import Placement
from . import scene_reading
from .scene_reading import SceneReading

SPEECH_FILE = "speech.wav"


@dataclass(frozen=True)
class Draft:
    """A dub about to start: its plan, the sound still to be cut if any, where the result goes, what should be known."""

    plan: DubPlan
    sound: audio.SoundMix | None
    placement: Placement
    remarks: tuple[visibility.Remark, ...] = ()


def drafts(scene: bpy.types.Scene, how: str, offer: Offer = USUAL) -> list[Draft]:
    """Plan the dubs of several sound strips; raises AddonError.

    Args:
        how: "active" for the chosen strip only, "each" for a dub of each selected strip that is heard, "together" for
            one dub of all that they play.
    """
    strips = select.read(scene).sounds
    each = [[strip] for strip in strips if not sequencer.is_muted(scene, strip)]
    found: list[Draft] = []
    with ExitStack() as made:
        for group in each if how == "each" else [strips if how == "together" else ()]:
            found.append(draft(scene, offer, group))
            made.enter_context(kept_if_done(found[-1].plan.folder))
    return found


def draft(scene: bpy.types.Scene, offer: Offer = USUAL, sounds: Sequence[bpy.types.Strip] = ()) -> Draft:
    """Plan a dub of sound strips, the chosen one by default, into a new version folder; raises AddonError."""
    made = of(scene_reading.read(scene, offer, sounds), Path())
    return placed(scene, made, made.plan.name)


def placed(scene: bpy.types.Scene, made: Draft, name: str) -> Draft:
    """The draft in a new version folder of the dubs of a sound strip of that name; raises AddonError."""
    folder = _version_folder(takes_folder(name))
    speech = replace(made.plan.speech, file=folder / SPEECH_FILE)
    with kept_if_done(folder):
        recovery.note(folder, scene, made.placement)
    return replace(made, plan=replace(made.plan, name=f"{name} {folder.name}", folder=folder, speech=speech))


def of(reading: SceneReading, folder: Path) -> Draft:
    """What a reading of a scene says about its next dub, in a folder that is not made; raises AddonError."""
    scene, settings, sounds = reading.scene, reading.settings, reading.require_sounds()
    sound, into = audio.read_mix(scene, sounds, settings.audio_track), reading.footage()
    first, end = _range(scene, sound, into)
    plan = DubPlan(
        uid=uuid.uuid4().hex,
        name=sounds[0].name,
        folder=folder,
        portrait=_portrait(reading),
        speech=SpeechSource(folder / SPEECH_FILE, timebase.frames_to_seconds(first - sound.first, sound.fps)),
        pose=_pose(reading, first, end),
        fps=sound.fps,
        frame_count=end - first,
        first=0,
        end=end - first,
        weights_id=reading.offer.weights_id,
        output=_output(reading, into, first, end),
        blink=_blink(reading, first, end),
        limits=reading.offer.limits,
        **schema.chosen(settings),
    )
    return Draft(plan, sound, _placement(reading, into, first), tuple(_remarks(reading, sound, into, first, end)))


def _portrait(reading: SceneReading) -> PortraitSource | None:
    if not reading.needs("portrait"):
        return None
    face = reading.source("portrait")
    return media.portrait(reading.scene, face.require(), reading.settings.portrait_crop, face.frame)


def _placement(reading: SceneReading, into: bpy.types.Strip | None, first: int) -> Placement:
    """Over the sounds, or on the footage; with the keyframes that the dub is made with."""
    posed = reading.posed if reading.settings.pose_kind == "keyframes" else None
    keyed = reading.keyed if into or _blink_strip(reading) else None
    placement = Placement.over(reading.scene, reading.sounds, first, into, posed, keyed)
    return replace(placement, sources=_source_refs(reading))


def _source_refs(reading: SceneReading) -> str:
    """The note on the strips that the dub is made from, those it does not need now too."""
    roles = ("portrait", "pose", "footage")
    others = {role: [strip] for role in roles if (strip := reading.source(role).strip)}
    return source_refs.note(reading.source("portrait").frame, {"audio": reading.sounds, **others})


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
    reading: SceneReading, sound: audio.SoundMix, into: bpy.types.Strip | None, first: int, end: int
) -> Iterator[visibility.Remark]:
    """What an editor should know of a dub of the timeline frames first <= f < end."""
    for text in audio_tracks.notices(reading.sounds, reading.settings.audio_track):
        yield visibility.Remark(first, end, text)
    if into is None:
        return
    yield from visibility.remarks(reading.scene, into, first, end)
    begin, stop = sequencer.span(into)
    before = max(sound.first, begin), first
    behind = end, min(sound.first + sound.frames, stop)
    for held, until in (before, behind):
        if held < until:
            yield visibility.Remark(held, until, f'"{into.name}" holds a picture here, which is not dubbed.')


def _pose(reading: SceneReading, begin: int, end: int) -> PoseSource:
    kind = reading.settings.pose_kind
    if kind == "keyframes":
        return reading.keyed_pose(reading.require_posed(), begin, end)
    if kind != "strip":
        return PoseSource(POSE_KINDS[kind])
    return media.pose(reading.scene, reading.source("pose").require(), begin, end, reading.settings.pose_crop)


def _output(reading: SceneReading, into: bpy.types.Strip | None, first: int, end: int) -> Output:
    settings = reading.settings
    if into is None:
        return Output(presence_mark=settings.presence_mark)
    keyed = reading.keyed
    return Output(
        mode=settings.output,
        footage=media.footage(reading.scene, into, first),
        feather=settings.feather,
        mouth_only=footage.amounts(reading.scene, keyed, first, end) if keyed else (settings.mouth_only,),
        keep_where_absent=settings.keep_where_absent,
        face_source=settings.face_source,
        presence_mark=settings.presence_mark,
    )


def _blink(reading: SceneReading, first: int, end: int) -> tuple[float, ...]:
    """How far the keys close the eyes."""
    strip = _blink_strip(reading)
    if strip is None:
        return (reading.settings.blink if reading.offer.heeds("blink") else 0.0,)
    return footage.amounts(reading.scene, strip, first, end, footage.BLINK)


def _blink_strip(reading: SceneReading) -> bpy.types.Strip | None:
    """The strip whose keys close the eyes, where the engine heeds them."""
    strip = reading.keyed if reading.offer.heeds("blink") else None
    return strip if strip and pose_keys.is_keyed(reading.scene, strip, (footage.BLINK,)) else None


def takes_folder(name: str) -> Path:
    """Where the takes of a sound strip of that name lie."""
    return all_takes() / naming.safe_name(name)


def all_takes() -> Path:
    """Where the takes of the open file lie, by sound strip."""
    return Path(bpy.path.abspath(TAKES)) if bpy.data.filepath else preferences.user_folder("dubs")


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
