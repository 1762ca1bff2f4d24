"""How stored pictures lie on the screen: turned, mirrored, and with pixels that are no squares."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import atan2, degrees
from typing import Any, TypeVar

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from numpy.typing import NDArray

from model_server.pipeline.request import Viewer
from model_server.sandbox.channel import crosses

Pixels = TypeVar("Pixels", bound=NDArray)

# Degrees by which a display matrix may miss a quarter turn; others turn nothing.
_TOLERANCE = 1.0
# Shares by which pixels must differ from squares to be stretched, and above which a file must be wrong.
_LEAST, _MOST = Fraction(1, 100), Fraction(4)


@crosses
@dataclass(frozen=True)
class Geometry:
    """From stored to upright pictures.

    Attributes:
        turns: quarter turns anticlockwise.
        mirrored: left and right are swapped before that.
        pixel: width of an upright picture's pixel over its height.
    """

    turns: int = 0
    mirrored: bool = False
    pixel: Fraction = Fraction(1)

    @staticmethod
    def of(frame: av.VideoFrame, stored_pixel: Fraction | None, viewer: Viewer) -> Geometry:
        """Geometry of a decoded frame.

        Args:
            stored_pixel: width over height of a pixel as it is stored; None where the file does not tell.
        """
        data: Any = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload]
        return _geometry(bytes(data) if data else b"", stored_pixel or Fraction(1), viewer)

    def upright(self, picture: Pixels) -> Pixels:
        """A stored picture (height, width, ...) as it stands on the screen; its pixels stay the same."""
        mirrored = picture[:, ::-1] if self.mirrored else picture
        return np.ascontiguousarray(np.rot90(mirrored, self.turns))  # type: ignore[return-value]

    def natural_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height in square pixels of an upright picture of `size`."""
        return max(round(size[0] * self.pixel), 1), size[1]

    def natural(self, picture: Pixels) -> Pixels:
        """An upright picture in square pixels."""
        size = self.natural_size((picture.shape[1], picture.shape[0]))
        return picture if size[0] == picture.shape[1] else cv2.resize(picture, size)  # type: ignore[return-value]


@lru_cache(maxsize=64)
def _geometry(matrix: bytes, stored_pixel: Fraction, viewer: Viewer) -> Geometry:
    # A picture's (x, y) is shown at (a x + c y, b x + d y); y runs down.
    a, b, _, c, d = struct.unpack("=5i", matrix[:20]) if len(matrix) == 36 else (1, 0, 0, 0, 1)
    mirrored = viewer == "player" and a * d - b * c < 0
    turns = _quarters(-a, -b) if mirrored else _quarters(a, b)
    return Geometry(turns, mirrored, _shown_pixel(stored_pixel, turns))


def _quarters(x: int, y: int) -> int:
    """Quarter turns anticlockwise that take a picture's x axis to this direction."""
    angle = degrees(atan2(-y, x))
    turns = round(angle / 90)
    return turns % 4 if abs(angle - 90 * turns) < _TOLERANCE else 0


def _shown_pixel(stored: Fraction, turns: int) -> Fraction:
    if not 1 / _MOST <= stored <= _MOST or abs(stored - 1) < _LEAST:
        return Fraction(1)
    return 1 / stored if turns % 2 else stored
