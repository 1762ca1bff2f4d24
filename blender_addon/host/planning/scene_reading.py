"""What a plan needs to know of a scene, read once: its settings, its sources, and the keys that serve them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import bpy

from ...core.engines import USUAL, Offer
from ...core.errors import AddonError
from ...core.plan import PoseSource
from ...core.schema import DubSettings
from ..bl import sequencer
from ..sources import footage, pose_keys, select
from ..sources.select import Choice, Sources


@dataclass(frozen=True)
class SceneReading:
    """A scene as it is now; not to be kept, as no strip is.

    Attributes:
        offer: what the server's weights take.
        settings: what the editor chose, of what the weights take.
        sources: the strips of all roles.
        sounds: the sound strips of the dub, the one that names it first; () when there are none.
        posed: the strip whose keyframes would pose the dub; None for none.
        keyed: the strip whose keyed amount of the face would serve the dub; None for none.
    """

    scene: bpy.types.Scene
    offer: Offer
    settings: DubSettings
    sources: Sources
    sounds: tuple[bpy.types.Strip, ...]
    posed: bpy.types.Strip | None
    keyed: bpy.types.Strip | None

    @property
    def takes_portrait(self) -> bool:
        """Whether a portrait may be set, though none is needed: the noise in it is where several steps begin."""
        return self.offer.engine.portrait_optional and self.settings.steps > 1

    def needs(self, role: str) -> bool:
        """Whether a dub with these settings needs a strip of this role."""
        needed = {
            "portrait": self.offer.engine.portrait or (self.takes_portrait and "portrait" in self.sources.assigned),
            "pose": self.settings.pose_kind == "strip",
            "footage": self.settings.output != "crop",
        }
        return needed.get(role, True)

    def require_sounds(self) -> tuple[bpy.types.Strip, ...]:
        """The sound strips; raises AddonError when there are none."""
        return self.sounds or (self.sources.chosen["audio"].require(),)

    def source(self, role: str) -> Choice:
        """The strip of a role, or why there is none."""
        return self.sources.chosen[role]

    def footage(self) -> bpy.types.Strip | None:
        """The strip that the face is dubbed into, None when it is into none; raises AddonError when it is gone."""
        return self.source("footage").require() if self.needs("footage") else None

    def problem(self) -> str:
        """Why a dub cannot start, as one sentence; "" when it can."""
        roles = (role for role in ("audio", "portrait", "pose", "footage") if self.needs(role))
        missing = next((text for role in roles if (text := self.source(role).problem)), "")
        return missing or self._muted_problem() or self._keyframes_problem() or self._footage_problem()

    def _muted_problem(self) -> str:
        sounds = self.sources.sounds
        silent = [strip for strip in sounds if sequencer.is_muted(self.scene, strip)]
        if not silent or len(silent) < len(sounds):
            return ""
        return f'The sound strip "{silent[0].name}" is muted; unmute it, or its channel or meta strip.'

    def _keyframes_problem(self) -> str:
        if self.settings.pose_kind != "keyframes" or self.posed:
            return ""
        sound = self.source("audio").require()
        return f'No pose keyframes: bake the pose of a dub of "{sound.name}", or key its yaw, pitch and roll.'

    def _footage_problem(self) -> str:
        into = self.footage()
        if into is None:
            return ""
        begin, stop = sequencer.span(into)
        if any(first < stop and begin < end for first, end in map(sequencer.span, self.sources.sounds)):
            return ""
        return f'No sound plays while the footage "{into.name}" does; move one over the other.'

    def require_posed(self) -> bpy.types.Strip:
        """The strip whose keyframes pose the dub; raises AddonError when there is none."""
        if self.posed is None:
            raise AddonError("No dub strip has pose keyframes here.", "Bake the pose of a dub first.")
        return self.posed

    def keyed_pose(self, strip: bpy.types.Strip, first: int, end: int) -> PoseSource:
        """The pose that a strip's keys say for the timeline frames first <= f < end; raises AddonError.

        The handles' angles are added to the pose of an engine whose controls are angles; one whose controls are none by
        themselves is told of them, too.
        """
        pose, engine = pose_keys.pose_source(self.scene, strip, first, end), self.offer.engine
        rows = tuple(row[: len(engine.pose_controls)] for row in pose.codes)
        if engine.in_angles and pose.angles:
            rows = tuple(tuple(map(sum, zip(*both, strict=True))) for both in zip(rows, pose.angles, strict=True))
        for control, values in zip(engine.pose_controls, zip(*rows, strict=True), strict=False):
            for frame, value in enumerate(values, first):
                if not control.low <= value <= control.high:
                    raise AddonError(
                        f'The pose of "{strip.name}" has {control.title} {value:g} at frame {frame}.',
                        f"Keep it within {control.low:g} to {control.high:g}.",
                    )
        return replace(pose, codes=rows, angles=pose.angles if engine.implicit else ())


def _settings(scene: bpy.types.Scene, offer: Offer) -> DubSettings:
    """What the editor chose; a pose that was never chosen is the engine's usual one."""
    settings = DubSettings.read(scene.posedub)
    if scene.posedub.is_property_set("pose_kind") or not offer.poses:
        return settings
    return replace(settings, pose_kind=offer.poses[0])


def read(scene: bpy.types.Scene, offer: Offer = USUAL, sounds: Sequence[bpy.types.Strip] = ()) -> SceneReading:
    """Read a scene for a dub of some sound strips, by default of the chosen ones."""
    sources = select.read(scene)
    meant = tuple(sounds) or sources.spoken
    return SceneReading(
        scene,
        offer,
        offer.fitted(_settings(scene, offer)),
        sources,
        meant,
        posed=pose_keys.for_dub(scene, meant[0], sources.dub) if meant else None,
        keyed=footage.keyed(scene, meant[0], sources.dub) if meant else None,
    )
