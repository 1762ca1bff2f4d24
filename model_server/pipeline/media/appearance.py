"""How a movie's decoded frames become pictures: for faces upright in natural proportions and SDR, or as stored."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media.colour import RGB, Colour, Converter
from model_server.pipeline.media.containers import MAX_FRAME_PIXELS
from model_server.pipeline.media.geometry import Geometry
from model_server.pipeline.media.partial import FORMATS, AnyPicture, PartialPicture
from model_server.pipeline.request import Viewer
from model_server.sandbox.channel import crosses

Picture = NDArray[np.uint8]
Field = Literal["top", "bottom"]

# All others may be either way, and nearly all are not (IEC 61834-2).
_BOTTOM_FIRST = ("dvvideo",)


@crosses
@dataclass(frozen=True)
class Appearance:
    """How frames look to a viewer.

    Attributes:
        size: width and height of upright pictures, in pixels as they are stored.
        asked: geometry that the file asks for, as players follow it.
        first_field: of interlaced pictures; None where they are shown whole, or turned.
    """

    size: tuple[int, int]
    viewer: Viewer = "player"
    geometry: Geometry = Geometry()
    asked: Geometry = Geometry()
    colour: Colour = Colour(RGB, full_range=True)
    first_field: Field | None = None

    @staticmethod
    def of(frame: av.VideoFrame, stored_pixel: Fraction | None, codec: str, viewer: Viewer) -> Appearance:
        """Appearance of a decoded frame.

        Args:
            stored_pixel: width over height of a pixel as it is stored; None where the file does not tell.
            codec: its name.
        """
        geometry = Geometry.of(frame, stored_pixel, viewer)
        size = (frame.height, frame.width) if geometry.turns % 2 else (frame.width, frame.height)
        asked = Geometry.of(frame, stored_pixel, "player")
        field: Field = "bottom" if codec in _BOTTOM_FIRST else "top"
        interlaced = frame.interlaced_frame and not (geometry.turns or geometry.mirrored)
        return Appearance(size, viewer, geometry, asked, Colour.of(frame, viewer, codec), field if interlaced else None)

    @property
    def natural_size(self) -> tuple[int, int]:
        """Width and height in square pixels."""
        return self.geometry.natural_size(self.size)

    @property
    def keeps_hdr(self) -> bool:
        """Whether pictures as stored keep their HDR: Blender knows what it is, elsewhere they are tone-mapped."""
        return self.colour.is_hdr and self.viewer == "blender"


class Pictures:
    """Turns decoded frames of one movie to pictures; for one thread at a time.

    Args:
        stored_pixel: width over height of a pixel as it is stored; None where the file does not tell.
        codec: its name.
    """

    def __init__(self, stored_pixel: Fraction | None, codec: str, viewer: Viewer) -> None:
        self._facts = stored_pixel, codec, viewer
        self._converter = Converter()
        self._for_parts = Converter(), Converter()

    def natural(self, frame: av.VideoFrame) -> Picture:
        """Upright, in natural proportions and SDR: uint8 R'G'B' (height, width, 3)."""
        look = self.appearance(frame)
        return look.geometry.natural(look.geometry.upright(self._converter.sdr(frame, look.colour)))

    def planes(self, frame: av.VideoFrame) -> tuple[Picture, Colour] | None:
        """What `PartialPicture` makes `natural` pictures of; None where they must be made whole."""
        look = self.appearance(frame)
        plain = look.geometry == Geometry() and not look.colour.is_hdr and frame.format.name in FORMATS
        if not plain or frame.width % 2 or frame.height % 2:
            return None
        return np.asarray(frame.to_ndarray(), np.uint8), look.colour

    def partly(self, frame: av.VideoFrame) -> AnyPicture:
        """`natural`, converted where it is looked at if that can be."""
        planes = self.planes(frame)
        return PartialPicture(*planes, self._for_parts) if planes else self.natural(frame)

    def stored(self, frame: av.VideoFrame) -> Picture:
        """Upright, in the pixels that are stored: R'G'B' of SDR, or of HDR where the viewer knows it."""
        look = self.appearance(frame)
        convert = self._converter.hdr if look.keeps_hdr else self._converter.sdr
        return look.geometry.upright(convert(frame, look.colour))

    def appearance(self, frame: av.VideoFrame) -> Appearance:
        """How a frame looks."""
        if frame.width * frame.height > MAX_FRAME_PIXELS:
            raise PoseDubError("A frame of the movie is larger than 8192x8192; scale it down.", ErrorKind.TOO_LARGE)
        return Appearance.of(frame, *self._facts)
