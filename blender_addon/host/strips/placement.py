"""Where the result of a dub goes on the timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import bpy

from ...core.plan import DubPlan
from ..bl import sequencer, visibility
from ..bl.sequencer import StripRef

REFERENCES = ("pose", "footage", "mouth_only", "replaces")


@dataclass(frozen=True)
class Placement:
    """Where a dub goes: over which sound or footage of which scene.

    Attributes:
        scene: Blender's session uid of the scene.
        sound: the sound strip, the first of several.
        start: timeline frame of dub frame 0.
        anchor: frame at which the content of the footage, else of the sound, began then; it is followed when it was
            moved meanwhile.
        above: channel of the footage or its effects, else the highest of the sounds.
        pose: the strip whose keyframes pose the dub, which the result takes over.
        footage: the strip that the dub lies on.
        mouth_only: the strip whose keyed amounts, of the mouth only and of the blink, the result takes over.
        replaces: the strip whose take the result is a newer one of; None for any at the same place.
        sources: note on the strips that the dub is made from, as `origin` writes it.
    """

    scene: int
    sound: StripRef
    start: int
    anchor: int
    above: int
    pose: StripRef | None = None
    footage: StripRef | None = None
    mouth_only: StripRef | None = None
    replaces: StripRef | None = None
    sources: str = ""

    @staticmethod
    def over(
        scene: bpy.types.Scene,
        sounds: Sequence[bpy.types.Strip],
        start: int,
        into: bpy.types.Strip | None = None,
        pose: bpy.types.Strip | None = None,
        mouth_only: bpy.types.Strip | None = None,
    ) -> Placement:
        """Place a dub over sound strips, or on the footage that it was made for."""
        return Placement(
            scene.session_uid,
            sequencer.reference(sounds[0]),
            start,
            sequencer.content_start(into or sounds[0]),
            visibility.top(scene, into) if into else max(map(sequencer.outer_channel, sounds)),
            _reference(pose),
            _reference(into),
            _reference(mouth_only),
        )

    def first_frame(self, scene: bpy.types.Scene) -> int:
        """Timeline frame of dub frame 0 where the footage or the sound lies now."""
        strip = sequencer.find(scene, self.footage or self.sound)
        return self.start + (sequencer.content_start(strip) - self.anchor if strip else 0)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the scene: it holds them."""
        values = asdict(self)
        del values["scene"]
        return values

    @staticmethod
    def from_json(data: dict[str, Any], scene: bpy.types.Scene | None) -> Placement:
        """Inverse of `to_json`, of a scene that may be gone; raises KeyError or TypeError for other data."""
        found = {name: data.get(name) for name in ("sound", *REFERENCES)}
        refs = {name: ref and StripRef(**ref) for name, ref in found.items()}
        return Placement(**data | refs | {"scene": scene.session_uid if scene else 0})


def dub_start(strip: bpy.types.Strip, plan: DubPlan) -> int:
    """Timeline frame at which a strip of a take shows, or would show, the dub's frame 0."""
    return sequencer.first_picture(strip) - plan.take_first


def _reference(strip: bpy.types.Strip | None) -> StripRef | None:
    return sequencer.reference(strip) if strip else None
