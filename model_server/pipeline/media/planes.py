"""Pictures as planes of Y'CbCr in 8 bits, in which movies are stored: what a dub leaves alone stays bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.media.colour import BT709, RGB, Colour
from model_server.pipeline.media.geometry import Geometry

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Luma's weights of red and blue by matrix; the other ones of SD are BT.601's.
_WEIGHTS = {BT709: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_BT601_WEIGHTS = (0.299, 0.114)
_FORMATS = {(2, 2): "yuv420p", (2, 1): "yuv422p", (1, 1): "yuv444p"}
# Formats that hold the same values in another order.
_PLANAR = {"nv12": "yuv420p", "nv21": "yuv420p", "yuyv422": "yuv422p", "uyvy422": "yuv422p", "p010le": "yuv420p10le"}


@dataclass(frozen=True)
class Layout:
    """How the planes of a picture lie.

    Attributes:
        size: width and height, whole numbers of chroma samples.
        chroma: pixels (across, down) that share a chroma sample, (2, 2), (2, 1) or (1, 1).
        colour: a matrix other than RGB, and SDR.
    """

    size: tuple[int, int]
    chroma: tuple[int, int] = (2, 2)
    colour: Colour = Colour()

    @staticmethod
    def around(size: tuple[int, int], chroma: tuple[int, int] = (2, 2), colour: Colour = Colour()) -> Layout:  # noqa: B008
        """The smallest layout that holds pictures of `size`."""
        width, height = (-(-side // step) * step for side, step in zip(size, chroma, strict=True))
        return Layout((width, height), chroma, colour)

    @property
    def format(self) -> str:
        """FFmpeg's name."""
        return _FORMATS[self.chroma]


@dataclass(frozen=True)
class Planes:
    """A picture: Y' (height, width), Cb and Cr of as many samples as the layout says."""

    layout: Layout
    planes: tuple[Plane, Plane, Plane]

    @property
    def nbytes(self) -> int:
        """Its size in memory."""
        return sum(plane.nbytes for plane in self.planes)

    @staticmethod
    def of_picture(picture: NDArray[np.uint8], layout: Layout) -> Planes:
        """An R'G'B' picture (height, width, 3); its last column and row are repeated where the layout is larger."""
        ycc = _ycc(_extended(picture, layout.size).astype(np.float32), layout.colour)
        chroma = [_averaged(ycc[..., k], layout.chroma) for k in (1, 2)]
        return Planes(layout, (_codes(ycc[..., 0]), _codes(chroma[0]), _codes(chroma[1])))

    def under(self, overlay: NDArray[np.uint8]) -> Planes:
        """With an RGBA picture (straight alpha) laid over it; where that is transparent it is the same, bit for bit."""
        box = _box(overlay[..., 3], self.layout.chroma)
        if box is None:
            return self
        rows, columns = box
        step_x, step_y = self.layout.chroma
        fine = rows, columns
        coarse = (
            slice(rows.start // step_y, rows.stop // step_y),
            slice(columns.start // step_x, columns.stop // step_x),
        )
        piece = _extended(overlay[fine], (columns.stop - columns.start, rows.stop - rows.start), transparent=True)
        alpha = piece[..., 3].astype(np.float32) / 255
        ycc = _ycc(piece[..., :3].astype(np.float32), self.layout.colour)
        share = _averaged(alpha, self.layout.chroma)
        luma = _blended(self.planes[0], fine, alpha, alpha * ycc[..., 0])
        blue, red = (
            _blended(self.planes[k], coarse, share, _averaged(alpha * ycc[..., k], self.layout.chroma)) for k in (1, 2)
        )
        return Planes(self.layout, (luma, blue, red))

    def frame(self) -> av.VideoFrame:
        """Without its colour being stated."""
        frame = av.VideoFrame(*self.layout.size, self.layout.format)
        for target, plane in zip(frame.planes, self.planes, strict=True):
            rows = np.zeros((target.height, target.line_size), np.uint8)
            rows[:, : plane.shape[1]] = plane
            target.update(rows.tobytes())
        return frame


def stored_chroma(frame: av.VideoFrame, geometry: Geometry) -> tuple[int, int]:
    """`Layout.chroma` for upright pictures of a decoded frame; no sample of it is lost."""
    if not _is_ycc(frame):
        return (1, 1) if frame.format.is_rgb else (2, 2)
    across, down = _steps(frame)[:: -1 if geometry.turns % 2 else 1]
    return min(across, 2), 2 if across > 1 and down > 1 else 1


def stored_planes(frame: av.VideoFrame, geometry: Geometry, layout: Layout) -> Planes | None:
    """The upright picture in the very values that a frame stores; None where the layout has no room for these."""
    if not _is_ycc(frame) or (frame.width % 2 or frame.height % 2) and (geometry.mirrored or geometry.turns):
        return None
    planar = frame.reformat(format=_planar(frame)) if _planar(frame) != frame.format.name else frame
    steps = _steps(planar)[:: -1 if geometry.turns % 2 else 1]
    if any(step % wanted for step, wanted in zip(steps, layout.chroma, strict=True)):
        return None
    repeats = [step // wanted for step, wanted in zip(steps, layout.chroma, strict=True)]
    luma, blue, red = (geometry.upright(_eight_bit(planar, k)) for k in range(3))
    chroma_size = layout.size[0] // layout.chroma[0], layout.size[1] // layout.chroma[1]
    blue, red = (_extended(plane.repeat(repeats[0], 1).repeat(repeats[1], 0), chroma_size) for plane in (blue, red))
    return Planes(layout, (_extended(luma, layout.size), blue, red))


def _is_ycc(frame: av.VideoFrame) -> bool:
    return frame.format.name.startswith("yuv") or frame.format.name in _PLANAR


def _planar(frame: av.VideoFrame) -> str:
    name = _PLANAR.get(frame.format.name, frame.format.name)
    return name[:-2] + "le" if name.endswith("be") else name


def _steps(frame: av.VideoFrame) -> tuple[int, int]:
    """Pixels (across, down) that share a chroma sample."""
    return 16 // frame.format.chroma_width(16), 16 // frame.format.chroma_height(16)


def _eight_bit(frame: av.VideoFrame, index: int) -> Plane:
    plane, bits = frame.planes[index], frame.format.components[index].bits
    width = plane.width
    if bits == 8:
        return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[:, :width]
    values = np.frombuffer(memoryview(plane), np.dtype("<u2")).reshape(plane.height, -1)[:, :width].astype(np.uint32)
    return np.minimum((values + (1 << bits - 9)) >> bits - 8, 255).astype(np.uint8)


def _extended(picture: NDArray[Any], size: tuple[int, int], transparent: bool = False) -> NDArray[Any]:
    """Cut to `size`, or filled up to it with the last column and row, or with nothing."""
    picture = picture[: size[1], : size[0]]
    missing = [(0, size[1] - picture.shape[0]), (0, size[0] - picture.shape[1]), (0, 0)][: picture.ndim]
    if not any(after for _, after in missing):
        return picture
    return np.pad(picture, missing) if transparent else np.pad(picture, missing, mode="edge")


def _ycc(rgb: Floats, colour: Colour) -> Floats:
    """Code values of Y'CbCr for those of R'G'B' in [0, 255], (height, width, 3)."""
    assert colour.matrix != RGB
    red, blue = _WEIGHTS.get(colour.matrix, _BT601_WEIGHTS)
    luma = np.array([red, 1 - red - blue, blue])
    rows = np.stack([luma, ([0, 0, 1] - luma) / (2 - 2 * blue), ([1, 0, 0] - luma) / (2 - 2 * red)])
    scales, offsets = (
        ([1, 1, 1], [0, 128, 128]) if colour.full_range else ([219 / 255, *[224 / 255] * 2], [16, 128, 128])
    )
    matrix = np.column_stack([rows * np.array(scales)[:, None], offsets])
    return cv2.transform(rgb, matrix).astype(np.float32, copy=False)


def _averaged(values: Floats, chroma: tuple[int, int]) -> Floats:
    """One value for the pixels that share a chroma sample."""
    if chroma == (1, 1):
        return values
    across, down = chroma
    size = values.shape[1] // across, values.shape[0] // down
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)


def _codes(values: Floats) -> Plane:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _blended(plane: Plane, place: tuple[slice, slice], share: Floats, added: Floats) -> Plane:
    """A copy of the plane with `added` in the place of a share of it."""
    result = plane.copy()
    result[place] = _codes(result[place] * (1 - share) + added)
    return result


def _box(alpha: NDArray[np.uint8], chroma: tuple[int, int]) -> tuple[slice, slice] | None:
    """Rows and columns around all that is not transparent, whole chroma samples; None where all is."""
    spans = []
    for axis, step in ((1, chroma[1]), (0, chroma[0])):
        seen = np.flatnonzero(alpha.any(axis=axis))
        if not len(seen):
            return None
        spans.append(slice(int(seen[0]) // step * step, -(-(int(seen[-1]) + 1) // step) * step))
    return spans[0], spans[1]
