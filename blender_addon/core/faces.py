"""Faces that the server found in a picture."""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """A face in fractions of the picture's width and height, origin top left; `score` in [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    left_eye: Point
    right_eye: Point
    mouth: Point

    @property
    def centre(self) -> Point:
        """What `FaceChoice.at` takes to choose this face."""
        return ((self.left + self.right) / 2, (self.top + self.bottom) / 2)


@dataclass(frozen=True)
class FacesFound:
    """Answer to a face search: largest first, in a picture of width x height pixels."""

    uid: str
    faces: tuple[Face, ...]
    width: int
    height: int
