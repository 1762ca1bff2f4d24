"""What the numbers of decoded frames mean as colours, and their conversion to R'G'B'.

Matrix, range, primaries and transfer are numbered as in ISO/IEC 23091-2, which FFmpeg and the containers use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from model_server.pipeline.media import hdr
from model_server.pipeline.request import Viewer
from model_server.sandbox.channel import crosses

RGB, BT709, UNSPECIFIED, BT601_625, BT601_525, BT2020 = 0, 1, 2, 5, 6, 9
"""Matrices, and but for RGB also primaries; of transfers BT709, UNSPECIFIED and BT601_525."""

_KNOWN_MATRICES = (BT709, 4, BT601_625, BT601_525, 7, BT2020)
# Of pictures above these sizes players take an unstated matrix for BT.709's.
_SD_WIDTH, _SD_HEIGHT = 1279, 576
_LINES_625 = (288, 576)
# VP8 has no other matrix (RFC 6386, section 9.2).
_ALWAYS_BT601 = ("vp8",)


@crosses
@dataclass(frozen=True)
class Colour:
    """Colour of pictures.

    Attributes:
        matrix: between R'G'B' and Y'CbCr; RGB when there is none.
        full_range: whether values span all codes.
        primaries: of the R'G'B'.
        transfer: of the R'G'B'.
    """

    matrix: int = BT709
    full_range: bool = False
    primaries: int = BT709
    transfer: int = BT709

    @property
    def is_hdr(self) -> bool:
        """Whether it is BT.2100's high dynamic range."""
        return self.transfer in (hdr.PQ, hdr.HLG)

    @property
    def curve(self) -> str:
        """Name of the transfer of HDR, "" for others."""
        return {hdr.PQ: "PQ", hdr.HLG: "HLG"}.get(self.transfer, "")

    def state(self, target: av.VideoFrame | av.VideoCodecContext) -> None:
        """Have a frame, or what an encoder writes, say that it has this colour."""
        target.colorspace, target.color_primaries, target.color_trc = self.matrix, self.primaries, self.transfer
        target.color_range = ColorRange.JPEG if self.full_range else ColorRange.MPEG

    @staticmethod
    def of(frame: av.VideoFrame, viewer: Viewer, codec: str = "") -> Colour:
        """Colour of a decoded frame; what it does not state is taken as the viewer takes it."""
        matrix, size = int(frame.colorspace), (frame.width, frame.height)
        standard = BT601_525 if codec in _ALWAYS_BT601 else usual_matrix(size, viewer)
        if frame.format.is_rgb or frame.format.name.startswith("pal8"):
            matrix, standard = RGB, BT709
        elif matrix not in _KNOWN_MATRICES:
            matrix = standard
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj") or matrix == RGB
        primaries = _stated(frame.color_primaries) or (matrix if matrix in (BT709, BT2020) else standard)
        transfer = _stated(frame.color_trc) or (BT601_525 if primaries in (BT601_625, BT601_525) else BT709)
        return Colour(matrix, full, primaries, transfer)


def usual_matrix(size: tuple[int, int], viewer: Viewer = "player") -> int:
    """The matrix of pictures (width, height) that state none: players go by the size, Blender takes BT.601."""
    if viewer == "player" and (size[0] > _SD_WIDTH or size[1] > _SD_HEIGHT):
        return BT709
    return BT601_625 if size[1] in _LINES_625 else BT601_525


def _stated(number: int) -> int:
    """A code point, 0 where it says nothing."""
    return 0 if number in (0, UNSPECIFIED, 3) else int(number)


class Converter:
    """Turns decoded frames to R'G'B'; to be kept from frame to frame, as making it takes time."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()
        self._tone_map = lru_cache(maxsize=1)(
            lambda colour, white: hdr.ToneMap(colour.transfer, colour.primaries, white)
        )

    def sdr(self, frame: av.VideoFrame, colour: Colour) -> NDArray[np.uint8]:
        """R'G'B' of SDR in 8 bits, (height, width, 3); HDR is tone-mapped."""
        if colour.is_hdr:
            return self._tone_map(colour, _white(frame, colour))(self._deep(frame, colour))
        return np.asarray(self._reformat(frame, colour, "rgb24").to_ndarray(), np.uint8)

    def hdr(self, frame: av.VideoFrame, colour: Colour) -> NDArray[np.uint8]:
        """R'G'B' of HDR in 8 bits, dithered, (height, width, 3)."""
        return hdr.dithered(self._deep(frame, colour) / np.float32(_white(frame, colour)))

    def _deep(self, frame: av.VideoFrame, colour: Colour) -> NDArray[np.uint16]:
        return np.asarray(self._reformat(frame, colour, "rgb48le").to_ndarray(), np.uint16)

    def _reformat(self, frame: av.VideoFrame, colour: Colour, target: str) -> av.VideoFrame:
        if colour.matrix != RGB:
            frame.colorspace = colour.matrix
            frame.color_range = ColorRange.JPEG if colour.full_range else ColorRange.MPEG
        # FFmpeg's threads, one for each processor, take longer to begin than the conversion of a picture.
        return self._scaler.reformat(frame, format=target, threads=1)


def _white(frame: av.VideoFrame, colour: Colour) -> int:
    """What FFmpeg's conversion makes of R'G'B' 1 in 16 bits: it shifts values to the left and leaves the rest 0."""
    bits = frame.format.components[0].bits if colour.full_range else 8
    return (2**bits - 1) << 16 - bits
