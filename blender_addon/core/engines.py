"""What an engine wants of a dub, as the server tells at the handshake; panels show what belongs to it.

A server that tells nothing has the one engine that all earlier servers had: its traits are the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal

from .schema import MAX_SIZE, OPTIONAL, PARAMETERS, POSES, SIZE, USUAL_OPTIONAL, DubSettings, PoseChoice

PoseKind = Literal["video", "fixed", "frontal", "codes", "speech"]
POSE_KINDS: Mapping[PoseChoice, PoseKind] = {
    "strip": "video",
    "fixed": "fixed",
    "frontal": "frontal",
    "keyframes": "codes",
    "speech": "speech",
}
"""What the editor chooses, and what the server is told."""
POSE_SIZE = 12
"""Numbers of a pose code that a strip has room for."""
ANGLES = ("yaw", "pitch", "roll")
HELD = "Hold Still"
"""The pose "fixed" of engines that need no portrait to tell how the head is held."""


@dataclass(frozen=True)
class PoseControl:
    """One of the numbers that say how the head is held: its unit, the range that the engine draws well, and frontal."""

    name: str
    unit: str = ""
    low: float = -inf
    high: float = inf
    neutral: float = 0.0

    @property
    def title(self) -> str:
        """As the editor reads it."""
        return f"{self.name.capitalize()} ({self.unit})" if self.unit else self.name.capitalize()


@dataclass(frozen=True)
class Sizes:
    """Widths and heights in pixels of the pictures that weights draw: `low` and what lies whole steps above it."""

    low: int = SIZE
    high: int = MAX_SIZE
    step: int = 2

    def __contains__(self, size: int) -> bool:
        return self.low <= size <= self.high and (size - self.low) % self.step == 0

    def nearest(self, size: int) -> int:
        """The size that comes nearest to one, from below where there is one."""
        kept = min(max(size, self.low), self.high)
        return kept - (kept - self.low) % self.step

    def problem(self, size: int) -> str:
        """Why a size cannot be drawn, a sentence that says what to do; "" when it can."""
        if size in self:
            return ""
        which = "no even number" if self.step == 2 and self.low % 2 == 0 else f"not in steps of {self.step}"
        return f"The picture size {size} is {which} from {self.low} to {self.high}; choose another."


CODES = tuple(PoseControl(f"code {number + 1}") for number in range(POSE_SIZE))


@dataclass(frozen=True)
class EngineTraits:
    """What an engine wants.

    Attributes:
        title: what a person calls it; "" where the server does not tell.
        portrait: whether it draws the person of a portrait; else its weights know whom they draw.
        portrait_optional: whether it takes a picture of that person, too.
        pose_sources: kinds of `core.plan.PoseSource` that it takes, the usual one first.
        pose_controls: numbers of a row of pose codes, in order.
        parameters: which of the parameters it heeds that not all engines heed.
        in_place: whether it draws lower faces into frames of footage; None where the server does not tell.
    """

    title: str = ""
    portrait: bool = True
    pose_sources: tuple[str, ...] = ("video", "fixed", "frontal", "codes")
    pose_controls: tuple[PoseControl, ...] = CODES
    parameters: tuple[str, ...] = USUAL_OPTIONAL
    portrait_optional: bool = False
    in_place: bool | None = None

    @property
    def in_angles(self) -> bool:
        """Whether its pose controls are the handles' angles."""
        return tuple((one.name, one.unit) for one in self.pose_controls) == tuple((name, "degrees") for name in ANGLES)

    @property
    def implicit(self) -> bool:
        """Whether its pose controls mean nothing by themselves: only a pose map tells head angles."""
        return not any(control.unit for control in self.pose_controls)

    @property
    def neutral(self) -> tuple[float, ...]:
        """The pose code of a head that looks into the camera."""
        return tuple(control.neutral for control in self.pose_controls)


@dataclass(frozen=True)
class PlanLimits:
    """What a plan was made for: how many numbers a pose code has, which sizes and parameters count."""

    controls: int = POSE_SIZE
    sizes: Sizes = Sizes()
    parameters: tuple[str, ...] = USUAL_OPTIONAL

    @staticmethod
    def from_json(data: dict[str, Any] | None) -> PlanLimits:
        """Rebuild limits, the default for None. Raises KeyError, TypeError or ValueError for other data."""
        if data is None:
            return PlanLimits()
        return PlanLimits(data["controls"], Sizes(**data["sizes"]), tuple(data["parameters"]))


@dataclass(frozen=True)
class Offer:
    """What a server's weights take of a dub.

    Attributes:
        engine: what their engine wants.
        sizes: which pictures they draw; None where the server does not tell.
        weights_id: "" for the server's default weights.
    """

    engine: EngineTraits = EngineTraits()
    sizes: Sizes | None = None
    weights_id: str = ""

    @property
    def poses(self) -> tuple[PoseChoice, ...]:
        """What the editor may choose as pose, the usual one first."""
        known = {kind: choice for choice, kind in POSE_KINDS.items()}
        return tuple(known[kind] for kind in self.engine.pose_sources if kind in known)

    def title(self, pose: PoseChoice) -> str:
        """What the editor reads of a pose."""
        if pose == "fixed" and not self.engine.portrait:
            return HELD
        return next(one.title for one in POSES if one.value == pose)

    @property
    def size_choices(self) -> tuple[int, ...]:
        """Sizes of those listed that these weights draw; all where the server does not tell."""
        listed = (int(choice.value) for choice in PARAMETERS["size"].choices)
        return tuple(size for size in listed if self.sizes is None or size in self.sizes)

    @property
    def limits(self) -> PlanLimits:
        """What a plan is held to. Sizes that are listed are left to the server: it tells which weights draw them."""
        sizes = self.sizes if self.sizes and not self.size_choices else Sizes()
        return PlanLimits(len(self.engine.pose_controls), sizes, self.engine.parameters)

    def heeds(self, name: str) -> bool:
        """Whether a parameter counts."""
        return not PARAMETERS[name].optional or name in self.engine.parameters

    def fitted(self, settings: DubSettings) -> DubSettings:
        """The settings with what these weights do not take replaced by what they do."""
        pose = settings.pose_kind if settings.pose_kind in self.poses or not self.poses else self.poses[0]
        size = settings.size if self.size_choices or not self.sizes else self.sizes.nearest(settings.size)
        unheeded = {name: PARAMETERS[name].default for name in OPTIONAL if not self.heeds(name)}
        values: dict[str, Any] = {"pose_kind": pose, "size": size, **unheeded}
        values |= {"face_source": PARAMETERS["face_source"].default} if self.engine.in_place is False else {}
        return replace(settings, **values)


USUAL = Offer()
"""Before a server has answered."""
