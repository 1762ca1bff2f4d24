"""What every engine offers, and what it wants of a dub. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, inf
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from model_server.engines.pose_map import PoseMap
from model_server.features import Sound

ANGLES = ("yaw", "pitch", "roll")
WeightsKind = Literal["untrained", "trained", "imported"]
Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
PrecisionChoice = Literal["auto"] | Precision
InPlace = Literal["", "lower_face", "view"]
"""What an engine draws into frames of footage is made of: not at all; the lower face; the network view."""
PoseSource = Literal["video", "fixed", "frontal", "codes", "speech"]
PoseReading = Literal["encoder", "angles", "movement"]
"""Where pose codes of real footage come from: the engine's encoder; head angles by the weights' pose map; the movement
from these angles, and the start from the encoder."""
POSE_READINGS: tuple[PoseReading, ...] = get_args(PoseReading)
PoseReadingChoice = Literal["auto"] | PoseReading


@dataclass(frozen=True)
class PoseControl:
    """One of the numbers that say how a head is held.

    Attributes:
        name: unique in its engine.
        unit: "degrees", for example; "" for numbers without one.
        low, high: what the engine draws well.
        neutral: a head that looks into the camera.
    """

    name: str
    unit: str = ""
    low: float = -inf
    high: float = inf
    neutral: float = 0.0


@dataclass(frozen=True)
class Traits:
    """What an engine wants of a dub; clients show what belongs to it.

    Attributes:
        title: what a person calls it.
        portrait: whether it draws the person of a portrait; else its weights know whom they draw.
        portrait_optional: whether it takes a picture of that person, too, though it needs none.
        pose_sources: those it takes, the usual one first.
        pose_controls: the numbers of a row of pose codes, in order.
        reach: frames before and after a frame whose speech and pose it depends on, too; 0 where each is made of its
            own, None where a frame depends on the whole dub's.
        reach_seconds: the same in seconds, beyond those.
        in_place: what of a frame it is shown for drawing lower faces into frames of footage, for which it needs no
            portrait; "" where it cannot.
        parameters: which of a dub's parameters it heeds, by their names in `DubSpec`.
    """

    title: str
    portrait: bool
    pose_sources: tuple[PoseSource, ...]
    pose_controls: tuple[PoseControl, ...]
    reach: int | None = 0
    parameters: tuple[str, ...] = ()
    portrait_optional: bool = False
    reach_seconds: int = 0
    in_place: InPlace = ""

    @property
    def tells_pose(self) -> bool:
        """Whether its engine is a `PoseTeller`."""
        controls = tuple((one.name, one.unit) for one in self.pose_controls)
        return "speech" in self.pose_sources and controls == tuple((name, "degrees") for name in ANGLES)

    def around(self, frames: range, fps: Fraction, count: int) -> range:
        """Frames of a dub of `count` on whose speech and pose some of its frames depend."""
        if self.reach is None:
            return range(count)
        reach = self.reach + ceil(self.reach_seconds * fps)
        return range(max(frames.start - reach, 0), min(frames.stop + reach, count))


@dataclass(frozen=True)
class Sizes:
    """Widths and heights of square pictures, pixels: `low` and what lies whole steps above it, up to `high`."""

    low: int
    high: int
    step: int = 2

    def __contains__(self, size: int) -> bool:
        return self.low <= size <= self.high and (size - self.low) % self.step == 0

    def nearest(self, size: int) -> int:
        """The size that comes nearest to one, from below where there is one."""
        kept = min(max(size, self.low), self.high)
        return kept - (kept - self.low) % self.step


@dataclass(frozen=True)
class WeightsInfo:
    """Where weights come from and what they fit.

    Attributes:
        id: SHA-256 of the weights file; a fixed name for built-in untrained values.
        name: what the user calls them.
        kind: with "untrained" weights nobody speaks or turns, and they must be shown as such.
        preset: the engine's own word for the networks' widths.
        path: the safetensors file, None for built-in values.
        source: SHA-256 of what the weights were imported from, or "".
        pose_map: head angles and pose codes of the weights, None where it is not known.
        pose_reading: where pose codes are best taken from with these weights, by measurement.
        engine: name of the engine they fit.
    """

    id: str
    name: str
    kind: WeightsKind
    preset: str
    path: Path | None = None
    source: str = ""
    pose_map: PoseMap | None = None
    pose_reading: PoseReading = "encoder"
    engine: str = field(kw_only=True)


# Of its own side, what a portrait shows around its view on each side is one part of so many.
MARGIN = 4


@dataclass(frozen=True)
class Relief:
    """How far from the camera places of a portrait are. Lengths are halves of its view, whose middle is 0.

    Attributes:
        depth: of places of a grid, (m, m) from top left to bottom right, from the pivot's on; away is positive.
        follows: how much of the head's turn each of them takes part in, (m, m), 0 to 1.
        pivot: x and y of what stays in its place as the head turns, (2,).
        reach: how far the grid reaches beyond the view on each side.
        angles: yaw, pitch and roll at which the portrait holds the head, (3,), degrees.
    """

    depth: NDArray[np.float32]
    follows: NDArray[np.float32]
    pivot: NDArray[np.float32]
    reach: float
    angles: NDArray[np.float32]


class Views(Protocol):
    """A portrait as networks see it, uint8 RGB."""

    @property
    def seen(self) -> NDArray[np.uint8]:
        """For encoders, (224, 224, 3)."""
        ...

    @property
    def drawn(self) -> NDArray[np.uint8]:
        """The same at the size of the frames, (size, size, 3)."""
        ...

    @property
    def surrounded(self) -> NDArray[np.uint8]:
        """`drawn`, and size // MARGIN pixels of what surrounds it on each side."""
        ...

    @property
    def relief(self) -> Relief | None:
        """How far from the camera its places are, where that is known."""
        ...


class Identity(Protocol):
    """Whom an engine draws, and how large; belongs to the engine that made it."""

    @property
    def pose(self) -> NDArray[np.float32]:
        """The portrait's own pose code, (p,) for p pose controls."""
        ...


@dataclass(frozen=True)
class Performance:
    """What the person of a dub says, and how the head is held.

    Attributes:
        speech: sample 0 belongs to the beginning of frame 0.
        fps: frames per second.
        first: the frame that the first row of `poses` is for.
        poses: pose codes (n, p); None where the head is to move as the engine makes of the speech.
        parameters: values of the dub's parameters, by their names in `DubSpec`.
        lids: how far the lids are closed, 0 to 1, (n,), for weights that heed it; else None.
        in_place: whether it is drawn into the frames of footage, see `Traits.in_place`.
    """

    speech: Sound
    fps: Fraction
    first: int
    poses: NDArray[np.float32] | None
    parameters: Mapping[str, float]
    lids: NDArray[np.float32] | None = None
    in_place: bool = False


@dataclass(frozen=True)
class FrameSource:
    """What footage shows of a person in one frame, for engines that draw into frames.

    Attributes:
        picture: what `Traits.in_place` says, upright, uint8 RGB (side, side, 3).
        hidden: where it is drawn anew, (side, side) in [0, 1]; what stands there is not to be seen in what is drawn.
        angles: yaw, pitch and roll of the head, (3,), degrees.
        movement: how far the person's lips go when they speak, for most people's.
    """

    picture: NDArray[np.uint8]
    hidden: NDArray[np.float32]
    angles: NDArray[np.float32]
    movement: float = 1.0


@dataclass(frozen=True)
class Condition:
    """All that the picture of one frame depends on besides identity and seed.

    Attributes:
        key: equal keys mean equal pictures, of equal sources.
        value: the engine's own.
        source: the frame that is drawn into, for an identity of such frames; else None.
    """

    key: bytes
    value: Any
    source: FrameSource | None = None


class Conditioning(Protocol):
    """What an engine makes of a performance."""

    def of(self, frames: range) -> Sequence[Condition]:
        """Conditions of frames, the same whatever range they are asked with."""
        ...


class Engine(Protocol):
    """Draws frames. A frame depends on identity, seed and its own condition alone. One caller at a time."""

    weights: WeightsInfo
    device: str
    precision: Precision

    @property
    def compiling(self) -> bool:
        """Whether the first call waits for code that is being made for this processor, once."""
        ...

    @property
    def batch_size(self) -> int:
        """How many frames of one call keep the device busy."""
        ...

    @property
    def first_batch(self) -> int:
        """How many frames take no longer than one, for whoever waits for the first."""
        ...

    def identity_of(self, portrait: Views | None, size: int) -> Identity:
        """Whom to draw, in pictures of `size` x `size`; `portrait` is None where the weights know it."""
        ...

    def identity_in(self, references: Sequence[FrameSource]) -> Any:
        """Whom to draw into frames, from one to four frames that show the person; they say how large.

        Only where `Traits.in_place` says so.
        """
        ...

    def pose_codes(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pose codes (n, p) of the heads in network views (n, 224, 224, 3), n >= 1, each of its own view alone."""
        ...

    def conditioning(self, performance: Performance) -> Conditioning:
        """What decides the frames of a performance; without networks where its reach is 0."""
        ...

    def draw(self, identity: Any, conditions: Sequence[Condition], seed: int) -> NDArray[np.uint8]:
        """Frames (n, size, size, 3), uint8 RGB, of n >= 1 conditions and an identity of this engine.

        Lower faces drawn into frames are RGBA: where something covers the face, alpha is low.

        Args:
            seed: of the dub, in [0, 2^64).
        """
        ...

    def fingerprint(self) -> str:
        """Short text that names all that changes pictures besides the request: code, weights, arithmetic."""
        ...


class PoseTeller(Protocol):
    """An engine that tells head angles from speech alone: whoever takes the pose source "speech", and angles as codes.

    See `Traits.tells_pose`.
    """

    def angles_of(self, performance: Performance, frames: range, seed: int) -> NDArray[np.float32]:
        """Yaw, pitch and roll (n, 3), degrees, that the head has in frames while it says what a performance says.

        Args:
            performance: its own poses do not count.
            seed: of movement that speech does not tell, in [0, 2^64).
        """
        ...


class Family(Protocol):
    """An engine's kind: a module that says what its weights files hold and makes engines of them, found by its name.

    It is imported for every client that asks what there is, and so must not import torch before `load`.
    """

    TRAITS: Traits

    def sizes(self, weights: WeightsInfo) -> Sizes:
        """Pictures that weights draw."""
        ...

    def check_tensors(self, path: Path, preset: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise PoseDubError unless a weights file holds the tensors of its preset."""
        ...

    def parameter_counts(self, weights: WeightsInfo) -> Mapping[str, int]:
        """Number of parameters of each network."""
        ...

    def load(self, weights: WeightsInfo, device: str, precision: PrecisionChoice, choices: Path | None) -> Engine:
        """An engine on a device, "cpu" or "cuda".

        Args:
            precision: "auto" takes what is faster here and draws the same pictures, by measurement.
            choices: file in which what was measured is kept.
        """
        ...
