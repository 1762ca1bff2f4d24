"""Crops around faces, upright by steps, and thumbnails."""

from __future__ import annotations

import cv2
import numpy as np

from model_server.pipeline.faces.alignment import Matrix, Picture, inverse, warp
from model_server.pipeline.faces.detector import Box
from model_server.pipeline.faces.tiles import shrunk
from model_server.pipeline.media.partial import AnyPicture

_CROP_FACTOR = 2.2
_THUMBNAIL_FACTOR = 1.5
_CROP_SIDE = 448
# The mesh is exact on heads that lean by up to half of it.
_ROLL_STEP = 45


def _square_around(rgb: AnyPicture, box: Box, factor: float = _CROP_FACTOR) -> tuple[Picture, tuple[int, int]]:
    """Square crop of `factor` times the box around its middle, black outside, and its top left corner."""
    side = max(round(factor * max(box[2] - box[0], box[3] - box[1])), 16)
    left, top = round((box[0] + box[2] - side) / 2), round((box[1] + box[3] - side) / 2)
    crop = np.zeros((side, side, 3), np.uint8)
    inside = rgb[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    y, x = max(-top, 0), max(-left, 0)
    crop[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return crop, (left, top)


def upright_crop(rgb: AnyPicture, box: Box, roll: float) -> tuple[Picture, Matrix]:
    """Square crop around a box, of _CROP_SIDE or less, with a head of that roll about upright; and the way back."""
    turn = roll_step(roll)
    if turn == 0:
        crop, (left, top) = _square_around(rgb, box)
        small = shrunk(crop, _CROP_SIDE)
        scale = len(crop) / len(small)
        return small, np.array([[scale, 0, left], [0, scale, top]])
    size = max(round(_CROP_FACTOR * max(box[2] - box[0], box[3] - box[1])), 16)
    side = min(size, _CROP_SIDE)
    across, down = size / side * np.cos(np.radians(turn)), size / side * np.sin(np.radians(turn))
    back = np.array([[across, down, 0], [-down, across, 0]])
    back[:, 2] = np.reshape(box, (2, 2)).mean(axis=0) - back[:, :2] @ (side / 2, side / 2)
    return warp(rgb, inverse(_between_centers(back)), side), back


def roll_step(roll: float) -> int:
    """The nearest of the rolls that crops are turned by."""
    return round(roll / _ROLL_STEP) * _ROLL_STEP % 360


def _between_centers(matrix: Matrix) -> Matrix:
    """A transform between the edges of pixels, (2, 3), as OpenCV has it: between their centres."""
    half = np.full(2, 0.5)
    return np.column_stack([matrix[:, :2], matrix[:, :2] @ half + matrix[:, 2] - half])


def thumbnail(rgb: Picture, box: Box, side: int) -> Picture:
    """The face with a little around it, (side, side, 3)."""
    square, _ = _square_around(rgb, box, _THUMBNAIL_FACTOR)
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
