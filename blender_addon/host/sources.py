"""Which strips are the sources of the next dub: assigned ones, else selected ones."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..core.errors import AddonError
from . import pose_keys, sequencer
from .media import PICTURES

KINDS = {"portrait": PICTURES, "audio": ("SOUND",), "pose": PICTURES}
WANTED = {"portrait": "an image or movie strip", "audio": "a sound strip", "pose": "a movie or image strip"}


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
    """The strip of a role: "portrait", "audio" or "pose"."""
    ref = scene.posedub.source(role).ref
    strip = sequencer.find(scene, ref) if ref else _selected(scene, role)
    if strip is not None:
        return Choice(strip)
    if ref:
        return Choice(None, f'The {role} strip "{ref.name}" is gone; set another one or clear it.')
    return Choice(None, f"No {role}: select {WANTED[role]}, or set one.")


def _selected(scene: bpy.types.Scene, role: str) -> bpy.types.Strip | None:
    """Of several pictures a still is the portrait, and the pose is another strip, a movie at best."""
    found = [strip for strip in sequencer.selected(scene, KINDS[role]) if not sequencer.is_dub(strip)]
    if role == "audio":
        return found[0] if found else None
    stills_first = sorted(found, key=lambda strip: strip.type != "IMAGE")
    if role == "portrait":
        return stills_first[0] if stills_first else None
    others = [strip for strip in reversed(stills_first) if strip != choose(scene, "portrait").strip]
    return next(iter(others or found), None)


def problem(scene: bpy.types.Scene) -> str:
    """Why a dub cannot start, as one sentence; "" when it can."""
    roles = ["audio", "portrait"] + (["pose"] if scene.posedub.pose_kind == "strip" else [])
    missing = next((text for role in roles if (text := choose(scene, role).problem)), "")
    return missing or _keyframes_problem(scene)


def _keyframes_problem(scene: bpy.types.Scene) -> str:
    sound = choose(scene, "audio").strip
    if scene.posedub.pose_kind != "keyframes" or sound is None or pose_keys.for_dub(scene, sound):
        return ""
    return f'No pose keyframes: bake the pose of a dub of "{sound.name}", or key its yaw, pitch and roll.'
