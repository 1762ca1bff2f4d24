"""What the frames of a dub are: the network's picture, or footage with the face in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from . import schema
from .faces import FaceChoice
from .schema import FEATHER, FaceSource, OutputMode

_EARLIER = {"face_source": "portrait"}
"""How outputs were meant that do not say it: before there was a choice."""


@dataclass(frozen=True)
class FootageSource:
    """Movie or picture that the face is dubbed into; second `start + speed * k / fps` of it belongs to dub frame k."""

    file: Path
    face: FaceChoice = FaceChoice()
    start: Fraction = Fraction(0)
    speed: Fraction = Fraction(1)

    @staticmethod
    def from_json(data: dict[str, Any]) -> FootageSource:
        """Rebuild a source. Raises KeyError, TypeError or ValueError for other data."""
        face = FaceChoice.from_json(data["face"])
        return FootageSource(Path(data["file"]), face, Fraction(data["start"]), Fraction(data["speed"]))


@dataclass(frozen=True)
class Output:
    """What a frame of the dub is.

    Attributes:
        mode: "crop" is the square picture of the face; "overlay" has the footage's size and is transparent but for
            the face; "full_frame" is the footage with the face in it.
        footage: what the face is dubbed into; None for "crop".
        feather: width of the face's soft edge in distances between the eyes, in [0, 1].
        mouth_only: 0 takes the whole face from the dub, 1 the mouth region only; in [0, 1], one value for all frames
            or one for each.
        keep_where_absent: whether a face that is turned away or cut off stays as it is.
        face_source: whether the portrait is bent to the footage or the lower face is drawn into its own frames.
        presence_mark: whether what networks drew has an invisible pattern.
    """

    mode: OutputMode = "crop"
    footage: FootageSource | None = None
    feather: float = FEATHER
    mouth_only: tuple[float, ...] = (0.0,)
    keep_where_absent: bool = True
    face_source: FaceSource = "auto"
    presence_mark: bool = False

    def problems(self, frame_count: int) -> Iterator[str]:
        """One sentence, with what to do, for everything that keeps a dub of so many frames from starting."""
        if (self.mode == "crop") != (self.footage is None):
            yield "Only an overlay or a full frame has footage, and needs it; choose the strip to dub into."
        if self.footage and self.footage.speed <= 0:
            yield f"The footage plays at speed {float(self.footage.speed):g}; make it faster than zero."
        yield from schema.problems(self)
        if not all(0 <= amount <= 1 for amount in self.mouth_only):
            yield "The mouth-only amount leaves 0 to 1; correct its keys."
        if len(self.mouth_only) not in (1, frame_count):
            yield f"There are {len(self.mouth_only)} mouth-only amounts for {frame_count} frames; dub the strips again."

    @staticmethod
    def from_json(data: dict[str, Any] | None) -> Output:
        """Rebuild an output, the default for None. Raises KeyError, TypeError or ValueError for other data."""
        if data is None:
            return Output()
        footage = FootageSource.from_json(data["footage"]) if data["footage"] else None
        return Output(**_EARLIER | data | {"footage": footage, "mouth_only": tuple(data["mouth_only"])})
