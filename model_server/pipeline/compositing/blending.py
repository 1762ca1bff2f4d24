"""A drawn face laid back over footage: mask, place, edge and colour, worked out on the face's region alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.alignment import inverse, moved, shifted, warp_to
from model_server.pipeline.faces.color_transfer import Tone, matched, view_tone
from model_server.pipeline.faces.finder import Points
from model_server.pipeline.faces.outlines import inside_distance, smooth_step
from model_server.pipeline.media.colour import Colour
from model_server.pipeline.media.hdr import dithered, to_hdr

Picture = NDArray[np.uint8]
Mask = NDArray[np.float32]

# Down the face, in distances from the eyes to the mouth: where the masks begin, and how far the jaw may open more
# than in the footage, as a share of what lies below the mouth.
_ABOVE_FACE, _BELOW_NOSE = -1.6, 0.6
_JAW = 0.2
# Masks are worked out on a grid of so many cells; an edge is at least two of them wide.
_MASK_SIDE = 128
_EDGE_CELLS = 2


@dataclass(frozen=True)
class Placement:
    """Where and how the drawn face lies in a frame of footage.

    Attributes:
        matrix: from the footage's picture to the network view of `side` pixels, (2, 3).
        points: left eye, right eye, mouth of the footage's face in the view, (3, 2).
        outline: edge of that face in the view, (36, 2).
        tone: colours of the footage's face, (6,); NaN leaves the drawn ones.
        opacity: of the whole, in [0, 1].
    """

    matrix: NDArray[np.float64]
    points: Points
    outline: Points
    tone: Tone
    opacity: float

    def tobytes(self) -> bytes:
        """All of it, for a key."""
        arrays = (self.matrix, self.points, self.outline, self.tone, np.float64(self.opacity))
        return b"".join(array.tobytes() for array in arrays)


@dataclass(frozen=True)
class Patch:
    """A piece of an overlay: RGBA (h, w, 4) with straight alpha, transparent pixels all 0, and its top left corner."""

    rgba: Picture
    left: int
    top: int


def face_mask(side: int, points: Points, outline: Points, feather: float, mouth_only: float) -> Mask:
    """How much of the drawn face is taken, (side, side) in [0, 1]; always 0 at the view's edge.

    The face's outline, let down at the jaw, cut above a line that moves from above the face (mouth_only 0) to below
    the nose (1).

    Args:
        side: width and height of the view.
        points: left eye, right eye, mouth in the view.
        outline: edge of the face in the view.
        feather: width of the soft edge in distances between the eyes.
    """
    eyes = points[:2].mean(axis=0)
    down = points[2] - eyes
    length = max(float(np.linalg.norm(down)), 1e-6)
    cell = side / _MASK_SIDE
    width = max(feather * float(np.linalg.norm(points[1] - points[0])), _EDGE_CELLS * cell)
    x, y = np.meshgrid(*2 * [(np.arange(_MASK_SIDE) + 0.5) * cell - 0.5])
    line = _ABOVE_FACE + mouth_only * (_BELOW_NOSE - _ABOVE_FACE)
    below = ((x - eyes[0]) * down[0] + (y - eyes[1]) * down[1]) / length - line * length
    inside = inside_distance(np.stack([x, y], axis=-1), _with_room_for_the_jaw(outline, points[2], down))
    border = np.minimum.reduce([x, y, side - 1 - x, side - 1 - y]) - _EDGE_CELLS * cell - width / 2
    mask = smooth_step(np.minimum.reduce([inside, below, border]) / width + 0.5)
    return cv2.resize(mask.astype(np.float32), (side, side)).astype(np.float32, copy=False)


def _with_room_for_the_jaw(outline: Points, mouth: Points, down: Points) -> Points:
    along = (outline - mouth) @ down / max(float(down @ down), 1e-6)
    return outline + _JAW * np.maximum(along, 0)[:, None] * down


def patch(view: Picture, place: Placement, size: tuple[int, int], feather: float, mouth_only: float) -> Patch:
    """The drawn face as a piece of an overlay for a picture of `size` (width, height).

    Args:
        view: network view drawn, uint8 RGB (side, side, 3).
    """
    mask = face_mask(len(view), place.points, place.outline, feather, mouth_only) * place.opacity
    return laid(coloured(view, place), mask, place.matrix, size)


def laid(view: Picture, mask: Mask, matrix: NDArray[np.float64], size: tuple[int, int]) -> Patch:
    """A view (side, side, 3), and how much of it is taken, as a piece of an overlay for a picture of `size`.

    Args:
        matrix: from the picture to the view, (2, 3).
    """
    left, top, right, bottom = _seen(matrix, len(view), size)
    if right <= left or bottom <= top:
        return Patch(np.zeros((0, 0, 4), np.uint8), 0, 0)
    cutout = np.dstack([view, np.rint(mask * 255).astype(np.uint8)])
    rgba = warp_to(cutout, shifted(inverse(matrix), left, top), (right - left, bottom - top), smooth=True)
    rgba[rgba[..., 3] == 0] = 0
    return Patch(rgba, left, top)


def coloured(view: Picture, place: Placement) -> Picture:
    """A drawn face with the colours of the footage's."""
    own = view_tone(view, place.points, place.outline)
    return matched(view, own, place.tone) if np.isfinite([*own, *place.tone]).all() else view


def _seen(matrix: NDArray[np.float64], side: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the picture's part that the view covers."""
    corners = moved(np.array([[0, 0], [side, 0], [0, side], [side, side]], float), inverse(matrix))
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)) + 1, size).astype(int)
    return int(left), int(top), int(right), int(bottom)


def in_kind(piece: Patch, colour: Colour) -> Patch:
    """An SDR patch as one of a footage's HDR; in 8 bits, as Blender gives 16 bits of it another white than movies."""
    code = dithered(to_hdr(piece.rgba[..., :3] / 255, colour.transfer, colour.primaries))
    rgba = np.dstack([code, piece.rgba[..., 3:]])
    rgba[rgba[..., 3] == 0] = 0
    return Patch(rgba, piece.left, piece.top)


def overlay(piece: Patch | None, size: tuple[int, int]) -> Picture:
    """Full-frame RGBA (height, width, 4) of a patch; all 0 without one."""
    canvas = np.zeros((size[1], size[0], 4), np.uint8)
    if piece:
        height, width = piece.rgba.shape[:2]
        canvas[piece.top : piece.top + height, piece.left : piece.left + width] = piece.rgba
    return canvas


def composed(footage: Picture, piece: Patch | None) -> Picture:
    """The footage with a patch over it, uint8 RGB; where the patch is transparent it is the footage, bit for bit."""
    if piece is None:
        return footage
    result = footage.copy()
    height, width = piece.rgba.shape[:2]
    region = result[piece.top : piece.top + height, piece.left : piece.left + width]
    alpha = piece.rgba[..., 3:].astype(np.uint16)  # 255 * 255 + 127 fits
    region[:] = (piece.rgba[..., :3] * alpha + region * (255 - alpha) + 127) // 255
    return result
