"""How pictures are stored in a movie: size, colours, shape of the pixels, and how exactly."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from numpy.typing import NDArray

from model_server.pipeline.planes import Layout, Planes

Drawn = NDArray[np.uint8] | Planes
"""A picture to be stored: R'G'B' (height, width, 3), or planes."""

Options = tuple[tuple[str, str], ...]

# In what networks drew nothing is lost that one could see. Of footage hardly a value changes, and if so by one.
GOOD: Options = (("crf", "18"),)
EXACT: Options = (
    ("qp", "1"),
    ("preset", "veryfast"),
    ("x264-params", "pbratio=1:chroma-qp-offset=-12"),
)


@dataclass(frozen=True)
class MovieFormat:
    """Format of an H.264 track.

    Attributes:
        pixel: width of a pixel over its height.
        options: of the encoder, `GOOD` or `EXACT`.
    """

    layout: Layout
    pixel: Fraction = Fraction(1)
    options: Options = GOOD

    @staticmethod
    def of(picture: Drawn) -> MovieFormat:
        """For pictures like this one, R'G'B' as BT.709."""
        if isinstance(picture, Planes):
            return MovieFormat(picture.layout)
        return MovieFormat(Layout.around((picture.shape[1], picture.shape[0])))

    def frame(self, picture: Drawn) -> av.VideoFrame:
        """A picture for the encoder."""
        return (picture if isinstance(picture, Planes) else Planes.of_picture(picture, self.layout)).frame()

    def apply(self, track: VideoStream) -> None:
        """Set up a new track."""
        codec, colour = track.codec_context, self.layout.colour
        track.width, track.height = self.layout.size
        track.pix_fmt = self.layout.format
        codec.options = dict(self.options)
        codec.sample_aspect_ratio = self.pixel
        codec.colorspace, codec.color_primaries, codec.color_trc = colour.matrix, colour.primaries, colour.transfer
        codec.color_range = ColorRange.JPEG if colour.full_range else ColorRange.MPEG
