"""Exact numbers, choices and faces to protocol messages and back."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from model_server.errors import PoseDubError
from model_server.pipeline.faces.finder import FoundFace
from model_server.pipeline.request import (
    CropMode,
    FaceSelection,
    Viewer,
)
from model_server.service.messages import media

_CROP_VALUES: dict[CropMode, media.CropMode] = {"auto": media.CROP_MODE_AUTO, "aligned": media.CROP_MODE_ALIGNED}
VIEWER_VALUES: dict[Viewer, media.Viewer] = {"player": media.VIEWER_PLAYER, "blender": media.VIEWER_BLENDER}


def rational(value: Fraction) -> media.Rational:
    """An exact number."""
    return media.Rational(numerator=value.numerator, denominator=value.denominator)


def fraction(message: media.Rational, default: Fraction = Fraction(0)) -> Fraction:
    """An exact number; `default` where the field was left out."""
    if message.denominator == 0 and message.numerator == 0:
        return default
    if message.denominator <= 0:
        raise PoseDubError(f"The number {message.numerator}/{message.denominator} has no positive denominator.")
    return Fraction(message.numerator, message.denominator)


def face_message(face: FaceSelection) -> media.FaceSelection:
    """Which face, and how it is cropped."""
    at = media.Point(x=face.at[0], y=face.at[1]) if face.at else None
    time = None if face.time is None else rational(face.time)
    return media.FaceSelection(crop=_CROP_VALUES[face.crop], at=at, time=time)


def face_selection(message: media.FaceSelection) -> FaceSelection:
    """Inverse of `face_message`."""
    at = (message.at.x, message.at.y) if message.HasField("at") else None
    time = fraction(message.time) if message.HasField("time") else None
    return FaceSelection(choice(_CROP_VALUES, message.crop, "crop mode"), at, time)


def viewer_of(number: int) -> Viewer:
    """Our word for a viewer's number."""
    viewer: Viewer = choice(VIEWER_VALUES, number, "viewer")
    return viewer


def choice(values: dict[Any, Any], number: int, what: str) -> Any:
    """Our word for an enum's number; the first one where the field was left out."""
    words = {value: word for word, value in values.items()} | {0: next(iter(values))}
    if number not in words:
        raise PoseDubError(f"The server does not know the {what} {number}; update the server.")
    return words[number]


def short(value: float) -> float:
    """The decimal a person wrote, back from its 32-bit form (1.2 and not 1.2000000477)."""
    return float(f"{value:.7g}")


def found_face_message(face: FoundFace, size: tuple[int, int], thumbnail: bytes) -> media.Face:
    """A found face, from pixels to fractions of the picture's (width, height), with its JPEG."""
    width, height = size
    left, top, right, bottom = face.box

    def point(xy: tuple[float, float]) -> media.Point:
        return media.Point(x=xy[0] / width, y=xy[1] / height)

    return media.Face(
        left=left / width,
        top=top / height,
        right=right / width,
        bottom=bottom / height,
        score=face.score,
        left_eye=point(face.left_eye),
        right_eye=point(face.right_eye),
        mouth=point(face.mouth),
        thumbnail=thumbnail,
        yaw=face.yaw,
    )
