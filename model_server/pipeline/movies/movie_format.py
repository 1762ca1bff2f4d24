"""How pictures are stored in a movie: size, colours, shape of the pixels, and how exactly."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.stream import VideoStream
from numpy.typing import NDArray

from model_server.pipeline.media.appearance import Field
from model_server.pipeline.media.planes import Layout, Planes

Drawn = NDArray[np.uint8] | Planes
"""A picture to be stored: R'G'B' (height, width, 3), or planes."""

Options = tuple[tuple[str, str], ...]

# In what networks drew nothing is lost that one could see. Of footage hardly a value changes, and if so by one: steps
# are the smallest that profile High has, values go to the nearest one, and chroma's steps, which x264 rounds down, are
# 7/16 of that, as small as its 16-bit arithmetic allows.
GOOD: Options = (("crf", "18"),)
_CHROMA_STEPS = ",".join(["7"] * 16)
EXACT: Options = (
    ("qp", "1"),
    ("preset", "veryfast"),
    (
        "x264-params",
        "pbratio=1:deadzone-inter=0:deadzone-intra=0:chroma-qp-offset=-12"
        f":cqm4ic={_CHROMA_STEPS}:cqm4pc={_CHROMA_STEPS}",
    ),
)
# For 4:4:4, whose profile can be lossless.
LOSSLESS: Options = (("qp", "0"), ("preset", "veryfast"))
# How the encoder is told which field of an interlaced picture is shown first.
_FIELDS = {"top": "tff", "bottom": "bff"}


@dataclass(frozen=True)
class MovieFormat:
    """Format of an H.264 track.

    Attributes:
        pixel: width of a pixel over its height.
        options: of the encoder, `GOOD`, `EXACT` or `LOSSLESS`.
        first_field: of interlaced pictures; None for those that are shown whole.
    """

    layout: Layout
    pixel: Fraction = Fraction(1)
    options: Options = GOOD
    first_field: Field | None = None

    @staticmethod
    def of(picture: Drawn) -> MovieFormat:
        """For pictures like this one, R'G'B' as BT.709."""
        if isinstance(picture, Planes):
            return MovieFormat(picture.layout)
        return MovieFormat(Layout.around((picture.shape[1], picture.shape[0])))

    def frame(self, picture: Drawn) -> av.VideoFrame:
        """A picture for the encoder."""
        planes = picture if isinstance(picture, Planes) else Planes.of_picture(picture, self.layout)
        frame = planes.frame()
        if self.first_field:
            frame = _interlaced(frame, self.first_field)
        self.layout.colour.state(frame)
        return frame

    def apply(self, track: VideoStream) -> None:
        """Set up a new track."""
        codec = track.codec_context
        track.width, track.height = self.layout.size
        track.pix_fmt = self.layout.format
        codec.options = self._options()
        codec.sample_aspect_ratio = self.pixel
        self.layout.colour.state(codec)

    def _options(self) -> dict[str, str]:
        options = dict(self.options)
        if self.first_field and self.layout.size[1] % 4 == 0:  # fields have whole chroma samples
            known = options.get("x264-params")
            options["x264-params"] = ":".join(filter(None, (known, f"{_FIELDS[self.first_field]}=1:weightp=0")))
        return options


def _interlaced(frame: av.VideoFrame, first: Field) -> av.VideoFrame:
    """The frame, saying that it is interlaced: FFmpeg's filters alone can have it do so."""
    graph = _field_setter(frame.width, frame.height, frame.format.name, first)
    graph.push(frame)
    return graph.pull()  # type: ignore[return-value]


@lru_cache(maxsize=1)
def _field_setter(width: int, height: int, pixels: str, first: Field) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat(pixels), time_base=Fraction(1))
    setter, sink = graph.add("setfield", mode=_FIELDS[first]), graph.add("buffersink")
    source.link_to(setter)
    setter.link_to(sink)
    graph.configure()
    return graph
