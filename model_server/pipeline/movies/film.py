"""Footage with overlays laid over it, as pictures of a movie in the footage's own values, size and colours."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.pose import source_frames
from model_server.pipeline.media.appearance import Pictures
from model_server.pipeline.media.colour import BT709, RGB, Colour
from model_server.pipeline.media.containers import never
from model_server.pipeline.media.planes import Layout, Planes, stored_chroma, stored_planes
from model_server.pipeline.media.playback import Playback
from model_server.pipeline.media.video import DecodedFootage
from model_server.pipeline.movies.movie_format import EXACT, LOSSLESS, MovieFormat
from model_server.pipeline.request import FootageSource

_COMMON = (2, 2)


class Film:
    """A movie of footage in which each frame of a dub gets its overlay.

    Args:
        footage: as players show it.
        source: which moments of it the dub shows.
        fps: of the dub.

    Attributes:
        format: of the movie.
    """

    def __init__(self, footage: DecodedFootage, source: FootageSource, fps: Fraction) -> None:
        look = footage.appearance
        _, first = next(footage.decoded([0]))
        chroma = _COMMON if look.colour.is_hdr else stored_chroma(first, look.geometry)
        layout = Layout.around(look.size, chroma, _movie_colour(look.colour))
        options = LOSSLESS if chroma == (1, 1) else EXACT
        self.format = MovieFormat(layout, look.geometry.pixel, options, look.first_field)
        self._size = look.size
        self._footage, self._source, self._fps = footage, source, fps
        self._playback = Playback(_AsPlanes(footage, layout))

    def picture(self, index: int, overlay: NDArray[np.uint8]) -> Planes:
        """Frame `index` of the dub, given its overlay: RGBA (height, width, 4) of the footage's size."""
        time = self._source.start + self._source.speed * index / self._fps
        (frame,) = source_frames([time], self._footage.times, self._footage.duration)
        return self._playback.picture(frame).under(overlay)

    def remarks(self) -> Iterator[str]:
        """What the movie has otherwise than the footage, or than most movies, in sentences."""
        layout, (width, height) = self.format.layout, self._size
        if layout.size != self._size:
            wide, high = layout.size
            yield (
                f"The footage has {width}x{height} pixels and movies need even numbers; "
                f"the last column or row is repeated: {wide}x{high}."
            )
        if layout.chroma != _COMMON:
            name = "4:4:4" if layout.chroma == (1, 1) else "4:2:2"
            yield f"The movie keeps the footage's {name} colour resolution, which a few players cannot show."


def _movie_colour(colour: Colour) -> Colour:
    """Colour in which footage is written: its own, HDR as BT.709."""
    if colour.is_hdr:
        return Colour()
    return replace(colour, matrix=BT709, full_range=False) if colour.matrix == RGB else colour


class _AsPlanes:
    """Footage as planes of a layout."""

    def __init__(self, footage: DecodedFootage, layout: Layout) -> None:
        self._footage = footage
        self._layout = layout

    def iter_frames(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, Planes]]:
        """Yield (index, planes) for ascending `indices`."""
        pictures = self._footage.pictures()
        for index, frame in self._footage.decoded(indices, cancelled):
            yield index, self._planes(frame, pictures)

    def _planes(self, frame: av.VideoFrame, pictures: Pictures) -> Planes:
        look = pictures.appearance(frame)
        planes = None if look.colour.is_hdr else stored_planes(frame, look.geometry, self._layout)
        return planes or Planes.of_picture(pictures.stored(frame), self._layout)
