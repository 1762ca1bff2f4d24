"""Crops like those of VoxCeleb2, on which PC-AVS was trained (Zhou et al., CVPR 2021, section 4.1 and release).

A similarity transform takes both eye centres and the mouth centre to fixed places in 224x224. A clip has one transform
of its average face, so the head keeps moving in the crop, and per frame a translation that keeps the mouth in place.
"""

from __future__ import annotations

from math import ceil, hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.features import CROP_SIDE, VIEW_LEFT, VIEW_SIDE
from model_server.pipeline.media.partial import AnyPicture

LEFT_EYE, RIGHT_EYE, MOUTH = (87.0, 59.0), (137.0, 59.0), (112.0, 120.0)
_TEMPLATE = np.array([LEFT_EYE, RIGHT_EYE, MOUTH])
_NEW_SHARE = 0.8
_VIEW = (slice(0, VIEW_SIDE), slice(VIEW_LEFT, VIEW_LEFT + VIEW_SIDE))

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Matrix = NDArray[np.float64]


def similarity(points: Points) -> Matrix:
    """Least-squares similarity (2, 3) that takes left eye, right eye and mouth (3, 2) to their places in the crop."""
    middle = points.mean(axis=0)
    x, y = (points - middle).T
    right, down = (_TEMPLATE - _TEMPLATE.mean(axis=0)).T
    a, b = np.array([x @ right + y @ down, x @ down - y @ right]) / max(float(x @ x + y @ y), 1e-12)
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, _TEMPLATE.mean(axis=0) - turn @ middle])


def average_similarity(points: Points) -> Matrix:
    """Similarity of a clip's average face; points (n, 3, 2), rows of NaN where there is no face."""
    return similarity(np.nanmean(points, axis=0))


def clip_transforms(points: Points, new_share: float = _NEW_SHARE) -> Matrix:
    """One transform per frame, (n, 2, 3): the average similarity, moved so that the mouth stays in its place.

    The movement is smoothed: as published 80 % of the frame's own and 20 % of the one before, which lags behind.

    Args:
        points: left eye, right eye, mouth of each frame, (n, 3, 2), rows of NaN where there is no face.
        new_share: of the frame's own movement; 1 for points that are steady already.
    """
    shared = average_similarity(points)
    transforms = np.repeat(shared[None], len(points), axis=0)
    shift: Points | None = None
    for transform, (_, _, mouth) in zip(transforms, points, strict=True):
        if np.isfinite(mouth).all():
            own = np.array(MOUTH) - (shared[:, :2] @ mouth + shared[:, 2])
            shift = own if shift is None else new_share * own + (1 - new_share) * shift
        if shift is not None:
            transform[:, 2] += shift
    return transforms


def warp(rgb: AnyPicture, matrix: Matrix, side: int = CROP_SIDE, border: int = cv2.BORDER_CONSTANT) -> Picture:
    """Crop (side, side, 3) of a picture under a (2, 3) transform from picture to crop.

    Outside the picture it is black, or what another of OpenCV's borders says.
    """
    return warp_to(rgb, matrix, (side, side), border)


def quick_warp(rgb: AnyPicture, matrix: Matrix, side: int, border: int) -> Picture:
    """The same, a little coarser where it shrinks: for networks that find where things are."""
    region, matrix = _region(rgb, matrix, (side, side))
    if region.size == 0:
        return np.zeros((side, side, 3), np.uint8)
    # OpenCV halves in a quarter of the time that other factors take.
    while hypot(matrix[0, 0], matrix[1, 0]) <= 0.5:
        region, matrix = _shrunk_by(2, region, matrix)
    return cv2.warpAffine(region, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border).astype(
        np.uint8, copy=False
    )


def warp_to(
    picture: AnyPicture, matrix: Matrix, size: tuple[int, int], border: int = cv2.BORDER_CONSTANT, smooth: bool = False
) -> Picture:
    """The same for any `size` (width, height) and number of channels; `smooth` enlarges with cubic curves."""
    region, matrix = _region(picture, matrix, size)
    if region.size == 0:
        return np.zeros((size[1], size[0], picture.shape[2]), np.uint8)
    region, matrix = _preshrunk(region, matrix)
    enlarges = hypot(matrix[0, 0], matrix[1, 0]) > 1
    method = cv2.INTER_CUBIC if smooth and enlarges else cv2.INTER_LINEAR
    return cv2.warpAffine(region, matrix, size, flags=method, borderMode=border).astype(np.uint8, copy=False)


def moved(points: Points, matrix: Matrix) -> Points:
    """Points (..., 2) under a transform (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: Matrix) -> Matrix:
    """The transform (2, 3) that takes back what `matrix` (2, 3) did."""
    # NumPy's own wakes a thread for it, and waits until that gets a processor: milliseconds where all are busy.
    (a, b), (c, d) = matrix[:, :2].tolist()
    area = a * d - b * c
    back = np.array([[d / area, -b / area], [-c / area, a / area]])
    return np.column_stack([back, -back @ matrix[:, 2]])


def shifted(matrix: Matrix, left: float, top: float) -> Matrix:
    """The transform to a picture whose origin lies at (left, top) of the one `matrix` leads to."""
    return matrix - np.column_stack([np.zeros((2, 2)), [left, top]])


def resizing(width: int, height: int) -> Matrix:
    """Transform (2, 3) from a whole picture to a crop of it, as `resized` makes it."""
    x, y = CROP_SIDE / width, CROP_SIDE / height
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def network_view(crop: Picture) -> Picture:
    """What the networks see of a (224, 224, 3) crop: rows 0 to 191, columns 16 to 207, enlarged to (224, 224, 3)."""
    return resized(np.ascontiguousarray(crop[_VIEW]))


def view_transform(matrix: Matrix, side: int) -> Matrix:
    """Transform from a picture to its network view (side, side), given the one to its crop."""
    rows, columns = _VIEW
    scale = side / (rows.stop - rows.start)
    # Pixel centres lie at halves on both sides.
    shift = (0.5 - np.array([columns.start, rows.start])) * scale - 0.5
    return scale * matrix + np.column_stack([np.zeros((2, 2)), shift])


def after_scaling(matrix: Matrix, x: float, y: float) -> Matrix:
    """The transform (2, 3) from a picture that is first made x times as wide and y times as high."""
    return _after(matrix, x, y, (x - 1) / 2, (y - 1) / 2)


def resized(picture: Picture) -> Picture:
    """A picture as (224, 224, 3), antialiased when it shrinks."""
    shrinks = min(picture.shape[:2]) > CROP_SIDE
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, (CROP_SIDE, CROP_SIDE), interpolation=method).astype(np.uint8, copy=False)


def _region(rgb: AnyPicture, matrix: Matrix, size: tuple[int, int]) -> tuple[Picture, Matrix]:
    """The part of the picture that the crop shows (a 4K frame is mostly not), and the transform from there."""
    corners = np.multiply([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], size)
    seen = moved(corners, inverse(matrix))
    margin = ceil(2 / min(hypot(matrix[0, 0], matrix[1, 0]), 1))
    left, top = np.maximum(np.floor(seen.min(axis=0)) - margin, 0).astype(int)
    right, bottom = np.maximum(np.ceil(seen.max(axis=0)) + margin, 0).astype(int)
    return rgb[top:bottom, left:right], _after(matrix, 1, 1, left, top)


def _preshrunk(region: Picture, matrix: Matrix) -> tuple[Picture, Matrix]:
    """Shrink by a whole factor first when the transform does: bilinear sampling alone would alias."""
    factor = int(1 / hypot(matrix[0, 0], matrix[1, 0]))
    return (region, matrix) if factor < 2 else _shrunk_by(factor, region, matrix)


def _shrunk_by(factor: int, region: Picture, matrix: Matrix) -> tuple[Picture, Matrix]:
    height, width = region.shape[:2]
    size = ceil(width / factor), ceil(height / factor)
    small = cv2.resize(region, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    x, y = width / size[0], height / size[1]
    return small, after_scaling(matrix, x, y)


def _after(matrix: Matrix, scale_x: float, scale_y: float, left: float, top: float) -> Matrix:
    """The transform preceded by p -> (scale_x px + left, scale_y py + top)."""
    # Where it scales pictures, pixel centres lie at halves: coordinate s belongs to x (s + 1/2) - 1/2.
    first = np.array([[scale_x, 0, left], [0, scale_y, top], [0, 0, 1]])
    return matrix @ first
