"""Faces: those that the server found in a picture, and which one is meant."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

Point = tuple[float, float]
CropMode = Literal["auto", "aligned"]
TURNED_AWAY = 50.0
"""Degrees of yaw from which on the server takes a face to be turned away."""


@dataclass(frozen=True)
class FaceChoice:
    """Which face of a picture is meant and how it is cropped.

    Attributes:
        crop: "auto" finds and aligns the face, "aligned" takes a 224x224 crop as it is.
        at: point in fractions of width and height, origin top left; the nearest
            face is taken, the largest when None.
        time: seconds into a movie of the picture that `at` is a point of, from
            where the face is followed; None for the first one used.
    """

    crop: CropMode = "auto"
    at: Point | None = None
    time: Fraction | None = None

    @staticmethod
    def from_json(data: dict[str, Any]) -> FaceChoice:
        """Rebuild a choice. Raises KeyError, TypeError or ValueError for other data."""
        at, time = data["at"], data.get("time")
        return FaceChoice(data["crop"], at and (at[0], at[1]), None if time is None else Fraction(time))


@dataclass(frozen=True)
class Face:
    """A face in fractions of the picture's width and height, origin top left.

    Attributes:
        score: of the detector, in [0, 1].
        yaw: degrees the head is turned to the side, 0 from the front.
        thumbnail: a small square JPEG.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float
    left_eye: Point
    right_eye: Point
    mouth: Point
    yaw: float = 0.0
    thumbnail: bytes = b""

    @property
    def centre(self) -> Point:
        """What `FaceChoice.at` takes to choose this face."""
        return ((self.left + self.right) / 2, (self.top + self.bottom) / 2)

    @property
    def turned_away(self) -> bool:
        """Whether a dub would leave the face as it is."""
        return abs(self.yaw) > TURNED_AWAY


@dataclass(frozen=True)
class FacesRequest:
    """A picture to look for faces in: a file, or a movie's frame at `time` seconds; `uid` names the search."""

    uid: str
    file: Path
    time: Fraction = Fraction(0)


@dataclass(frozen=True)
class FacesFound:
    """Answer to a face search: largest first, in a picture of width x height pixels."""

    uid: str
    faces: tuple[Face, ...]
    width: int
    height: int
