"""Which strips are the sources of the next dub: assigned ones, else selected ones, else those of the selected dub."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ...core.errors import AddonError
from ..bl import sequencer
from . import pose_keys, source_refs
from .media import PICTURES

KINDS = {"portrait": PICTURES, "audio": ("SOUND",), "pose": PICTURES, "footage": PICTURES}
WANTED = {
    "portrait": "an image or movie strip",
    "audio": "a sound strip",
    "pose": "a movie or image strip",
    "footage": "a movie or image strip",
}


@dataclass(frozen=True)
class Choice:
    """The strip of a role, or the sentence that says why there is none.

    Attributes:
        frame: timeline frame at which a portrait is looked at.
        of_dub: whether it is a source of the selected dub, for want of another one.
    """

    strip: bpy.types.Strip | None
    problem: str = ""
    frame: int = 0
    of_dub: bool = False

    def require(self) -> bpy.types.Strip:
        """The strip; raises AddonError with the problem."""
        if self.strip is None:
            raise AddonError(self.problem)
        return self.strip


def choose(scene: bpy.types.Scene, role: str) -> Choice:
    """The strip of a role: "portrait", "audio", "pose" or "footage"."""
    chosen, dub = given(scene, role), pose_keys.active(scene)
    refs = source_refs.read(dub, role) if dub and not scene.posedub.source(role).ref else []
    if chosen.strip is not None or dub is None or not refs:
        return chosen
    strip = sequencer.find(scene, refs[0])
    if strip is None:
        gone = f'The {role} strip "{refs[0].name}" of "{dub.name}" is gone; select {WANTED[role]}, or set one.'
        return Choice(None, gone, of_dub=True)
    frame = source_refs.portrait_frame(dub, strip) if role == "portrait" else scene.frame_current
    return Choice(strip, frame=frame, of_dub=True)


def given(scene: bpy.types.Scene, role: str) -> Choice:
    """The strip of a role that is assigned or selected, whatever dub is selected."""
    ref = scene.posedub.source(role).ref
    strip = sequencer.find(scene, ref) if ref else _selected(scene, role)
    if strip is not None:
        return Choice(strip, frame=scene.frame_current)
    if ref:
        return Choice(None, f'The {role} strip "{ref.name}" is gone; set another one or clear it.')
    return Choice(None, f"No {role}: select {WANTED[role]}, or set one.")


def _selected(scene: bpy.types.Scene, role: str) -> bpy.types.Strip | None:
    """Of several pictures a still is the portrait, and the pose is another strip, a movie at best; so is footage."""
    found = _candidates(scene, role)
    if role == "audio":
        return found[0] if found else None
    if role == "footage":
        return min(found, key=lambda strip: strip.type != "MOVIE", default=None)
    stills_first = sorted(found, key=lambda strip: strip.type != "IMAGE")
    if role == "portrait":
        return stills_first[0] if stills_first else None
    others = [strip for strip in reversed(stills_first) if strip != given(scene, "portrait").strip]
    return next(iter(others or found), None)


def _candidates(scene: bpy.types.Scene, role: str) -> list[bpy.types.Strip]:
    return [strip for strip in sequencer.selected(scene, KINDS[role]) if not sequencer.is_dub(strip)]


def sounds(scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    """All sound strips to dub, in the order in which they are heard."""
    chosen = choose(scene, "audio")
    if chosen.of_dub or scene.posedub.audio.ref:
        return spoken(scene) if chosen.strip else []
    return sorted(_candidates(scene, "audio"), key=sequencer.span)


def spoken(scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    """The sound strips of one dub: the chosen one, or all that the selected dub was made from; raises AddonError."""
    chosen, dub = choose(scene, "audio"), pose_keys.active(scene)
    if not chosen.of_dub or dub is None:
        return [chosen.require()]
    found = [sequencer.find(scene, ref) for ref in source_refs.read(dub, "audio")]
    return [chosen.require(), *(strip for strip in found[1:] if strip is not None)]


def problem(scene: bpy.types.Scene) -> str:
    """Why a dub cannot start, as one sentence; "" when it can."""
    values = scene.posedub
    asked = {"pose": values.pose_kind == "strip", "footage": values.output != "crop"}
    roles = ["audio", "portrait", *(role for role, wanted in asked.items() if wanted)]
    missing = next((text for role in roles if (text := choose(scene, role).problem)), "")
    sound = choose(scene, "audio").strip
    if missing or sound is None:
        return missing
    return _muted_problem(scene) or _keyframes_problem(scene, sound) or _footage_problem(scene)


def _muted_problem(scene: bpy.types.Scene) -> str:
    silent = [strip for strip in sounds(scene) if sequencer.is_muted(scene, strip)]
    if not silent or len(silent) < len(sounds(scene)):
        return ""
    return f'The sound strip "{silent[0].name}" is muted; unmute it, or its channel or meta strip.'


def _footage_problem(scene: bpy.types.Scene) -> str:
    if scene.posedub.output == "crop":
        return ""
    footage = choose(scene, "footage").require()
    begin, stop = sequencer.span(footage)
    if any(first < stop and begin < end for first, end in map(sequencer.span, sounds(scene))):
        return ""
    return f'No sound plays while the footage "{footage.name}" does; move one over the other.'


def _keyframes_problem(scene: bpy.types.Scene, sound: bpy.types.Strip) -> str:
    if scene.posedub.pose_kind != "keyframes" or pose_keys.for_dub(scene, sound):
        return ""
    return f'No pose keyframes: bake the pose of a dub of "{sound.name}", or key its yaw, pitch and roll.'
