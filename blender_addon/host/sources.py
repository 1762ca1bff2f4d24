"""Which strips are the sources of the next dub: assigned ones, else selected ones."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..core.errors import AddonError
from . import pose_keys, sequencer
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
    """The strip of a role, or the sentence that says why there is none."""

    strip: bpy.types.Strip | None
    problem: str = ""

    def require(self) -> bpy.types.Strip:
        """The strip; raises AddonError with the problem."""
        if self.strip is None:
            raise AddonError(self.problem)
        return self.strip


def choose(scene: bpy.types.Scene, role: str) -> Choice:
    """The strip of a role: "portrait", "audio", "pose" or "footage"."""
    ref = scene.posedub.source(role).ref
    strip = sequencer.find(scene, ref) if ref else _selected(scene, role)
    if strip is not None:
        return Choice(strip)
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
    others = [strip for strip in reversed(stills_first) if strip != choose(scene, "portrait").strip]
    return next(iter(others or found), None)


def _candidates(scene: bpy.types.Scene, role: str) -> list[bpy.types.Strip]:
    return [strip for strip in sequencer.selected(scene, KINDS[role]) if not sequencer.is_dub(strip)]


def sounds(scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    """All sound strips to dub, in the order in which they are heard: the assigned one, else the selected ones."""
    if scene.posedub.audio.ref:
        strip = choose(scene, "audio").strip
        return [strip] if strip else []
    return sorted(_candidates(scene, "audio"), key=sequencer.span)


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
