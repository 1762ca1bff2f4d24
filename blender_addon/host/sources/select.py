"""Which strips are the sources of the next dub: assigned ones, else selected ones, else those of the selected dub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bpy

from ...core.errors import AddonError
from ..bl import sequencer
from ..bl.sequencer import StripRef
from . import source_refs
from .media import PICTURES

SOUNDS = ("SOUND",)
KINDS = {"portrait": PICTURES, "audio": SOUNDS, "pose": PICTURES, "footage": PICTURES}
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


@dataclass(frozen=True)
class Sources:
    """The strips of all roles, "portrait", "audio", "pose" and "footage"; not to be kept, as no strip is.

    Attributes:
        dub: the selected dub strip.
        assigned: roles that the editor assigned a strip to.
        given: the strip of each role that is assigned or selected, whatever dub is selected.
        chosen: the same, or where there is none the one that the selected dub was made from.
        sounds: all sound strips to dub, in the order in which they are heard.
        spoken: the sound strips of one dub: the chosen one, or all that the selected dub was made from.
    """

    dub: bpy.types.Strip | None
    assigned: frozenset[str]
    given: Mapping[str, Choice]
    chosen: Mapping[str, Choice]
    sounds: tuple[bpy.types.Strip, ...]
    spoken: tuple[bpy.types.Strip, ...]


def read(scene: bpy.types.Scene) -> Sources:
    """The sources of the scene's next dub as they are now."""
    picked = sequencer.selected(scene, (*PICTURES, *SOUNDS))
    dub = next((strip for strip in picked if strip.type == "IMAGE" and sequencer.is_dub(strip)), None)
    free = [strip for strip in picked if not sequencer.is_dub(strip)]
    refs = {role: ref for role in KINDS if (ref := scene.posedub.source(role).ref)}
    given: dict[str, Choice] = {}
    for role in KINDS:
        portrait = given["portrait"].strip if role == "pose" else None
        strip = sequencer.find(scene, refs[role]) if role in refs else _best(role, free, portrait)
        given[role] = _given(scene, role, strip, refs.get(role))
    chosen = {role: one if role in refs else _of_dub(scene, role, one, dub) for role, one in given.items()}
    spoken = _spoken(scene, chosen["audio"], dub)
    selected = (strip for strip in free if strip.type in SOUNDS)
    alone = chosen["audio"].of_dub or "audio" in refs
    heard = spoken if alone else tuple(sorted(selected, key=sequencer.span))
    return Sources(dub, frozenset(refs), given, chosen, heard, spoken)


def _best(role: str, strips: Sequence[bpy.types.Strip], portrait: bpy.types.Strip | None) -> bpy.types.Strip | None:
    """Of several pictures a still is the portrait, and the pose is another strip, a movie at best; so is footage."""
    found = [strip for strip in strips if strip.type in KINDS[role]]
    stills_first = sorted(found, key=lambda strip: strip.type != "IMAGE")
    ranked = {
        "portrait": stills_first,
        "pose": [strip for strip in reversed(stills_first) if strip != portrait] or found,
        "footage": sorted(found, key=lambda strip: strip.type != "MOVIE"),
    }
    return next(iter(ranked.get(role, found)), None)


def _given(scene: bpy.types.Scene, role: str, strip: bpy.types.Strip | None, ref: StripRef | None) -> Choice:
    if strip is not None:
        return Choice(strip, frame=scene.frame_current)
    if ref:
        return Choice(None, f'The {role} strip "{ref.name}" is gone; set another one or clear it.')
    return Choice(None, f"No {role}: select {WANTED[role]}, or set one.")


def _of_dub(scene: bpy.types.Scene, role: str, given: Choice, dub: bpy.types.Strip | None) -> Choice:
    """The choice of a role that none is assigned to: the given one, else the selected dub's."""
    refs = source_refs.read(dub, role) if dub and given.strip is None else []
    if dub is None or not refs:
        return given
    strip = sequencer.find(scene, refs[0])
    if strip is None:
        gone = f'The {role} strip "{refs[0].name}" of "{dub.name}" is gone; select {WANTED[role]}, or set one.'
        return Choice(None, gone, of_dub=True)
    frame = source_refs.portrait_frame(dub, strip) if role == "portrait" else scene.frame_current
    return Choice(strip, frame=frame, of_dub=True)


def _spoken(scene: bpy.types.Scene, chosen: Choice, dub: bpy.types.Strip | None) -> tuple[bpy.types.Strip, ...]:
    if chosen.strip is None:
        return ()
    refs = source_refs.read(dub, "audio")[1:] if dub and chosen.of_dub else []
    found = (sequencer.find(scene, ref) for ref in refs)
    return (chosen.strip, *(strip for strip in found if strip is not None))
