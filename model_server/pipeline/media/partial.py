"""Pictures of which only what is looked at becomes R'G'B': of a large frame that is mostly the part around a face."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.media.colour import Colour, Converter

Picture = NDArray[np.uint8]

FORMATS = ("yuv420p", "yuvj420p")
"""FFmpeg's names of what can be converted in parts: each block of 2 x 2 pixels is converted by itself."""
# What is converted is about a third larger than what was asked for, as the next look goes a little beside it; sides
# are multiples of some pixels, as a new size of pictures has the converter begin anew.
_MARGIN, _SIDES = 6, 64


class PartialPicture:
    """A picture (height, width, 3) like an array that can only be sliced by rows and columns; for one thread at a time.

    What it shows is equal to what converting the whole frame gives, bit for bit.

    Args:
        planes: Y', then Cb and Cr with half the width and height, one after the other, (3/2 height, width); sides even.
        converters: of parts and of `sampled`, kept from picture to picture.

    Raises:
        ValueError: planes that are none.
    """

    def __init__(self, planes: Picture, colour: Colour, converters: tuple[Converter, Converter]) -> None:
        height, width = planes.shape[0] * 2 // 3, planes.shape[1]
        if planes.shape[0] % 3 or width % 2 or planes.dtype != np.uint8:
            raise ValueError("no planes of a picture")
        self.shape = (height, width, 3)
        self._colour, (self._parts, self._samples) = colour, converters
        self._luma = planes[:height]
        self._chroma = planes[height:].reshape(2, height // 2, width // 2)
        self._held: tuple[range, range, Picture] | None = None

    def __getitem__(self, where: tuple[slice, slice]) -> Picture:
        """A part; not to be changed."""
        rows, columns = (range(*one.indices(size)) for one, size in zip(where, self.shape, strict=False))
        if not (rows and columns):
            return np.zeros((len(rows), len(columns), 3), np.uint8)
        if self._held is None or not (_inside(rows, self._held[0]) and _inside(columns, self._held[1])):
            around = (_around(one, size) for one, size in zip((rows, columns), self.shape, strict=False))
            self._hold(*around)
        assert self._held is not None
        held_rows, held_columns, picture = self._held
        return picture[_from(rows, held_rows.start), _from(columns, held_columns.start)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Picture:
        """The whole picture."""
        return self[:, :]

    def _hold(self, rows: range, columns: range) -> None:
        luma = self._luma[rows.start : rows.stop, columns.start : columns.stop]
        chroma = self._chroma[:, rows.start // 2 : rows.stop // 2, columns.start // 2 : columns.stop // 2]
        self._held = rows, columns, self._converted(self._parts, luma, chroma)

    def sampled(self, step: int) -> Picture:
        """`sampled` of the whole picture."""
        rows, columns = self.shape[0] // (2 * step), self.shape[1] // (2 * step)
        chroma = self._chroma[:, : rows * step : step, : columns * step : step]
        return self._converted(self._samples, _blocks(self._luma, step), chroma)

    def _converted(self, converter: Converter, luma: Picture, chroma: Picture) -> Picture:
        planes = np.concatenate([luma.ravel(), chroma.ravel()]).reshape(-1, luma.shape[1])
        return converter.sdr(av.VideoFrame.from_ndarray(planes, format="yuv420p"), self._colour)


AnyPicture = Picture | PartialPicture


def sampled(picture: AnyPicture, step: int) -> Picture:
    """A picture that is smaller by a whole number: of each square of 2 `step` pixels, the 2 x 2 in its corner."""
    if isinstance(picture, PartialPicture):
        return picture.sampled(step)
    return picture if step == 1 else _blocks(picture, step)


def _blocks(picture: Picture, step: int) -> Picture:
    height, width, *channels = picture.shape
    rows, columns, side = height // (2 * step), width // (2 * step), 2 * step
    squares = picture[: rows * side, : columns * side].reshape(rows, side, columns, side, *channels)
    return np.ascontiguousarray(squares[:, :2, :, :2]).reshape(2 * rows, 2 * columns, *channels)


def _inside(one: range, other: range) -> bool:
    return other.start <= one.start and one[-1] < other.stop


def _around(wanted: range, size: int) -> range:
    """A part of a side, of even beginning and length, that holds what is wanted and somewhat more."""
    length = -(-len(wanted) * (_MARGIN + 2) // _MARGIN // _SIDES) * _SIDES
    start = max(min((wanted.start + wanted.stop - length) // 2, size - length), 0) // 2 * 2
    return range(start, min(start + length, size))


def _from(wanted: range, start: int) -> slice:
    return slice(wanted.start - start, wanted.stop - start, wanted.step)
