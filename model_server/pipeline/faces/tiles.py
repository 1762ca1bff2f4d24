"""Windows of a picture that detectors are shown: the whole of it, and tiles for faces too small in that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from typing import NamedTuple

import cv2
import numpy as np

from model_server.pipeline.faces.alignment import Picture
from model_server.pipeline.faces.detector import Detection

_DETECTION_SIDE = 640
_SMALLEST_TILE = 240


class Window(NamedTuple):
    """Part of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


def seen(rgb: Picture, window: Window, *detectors: Callable[[Picture], list[Detection]]) -> Iterator[Detection]:
    """Detections in a window of the picture, in the picture's pixels."""
    left, top, width, height = window
    small = shrunk(rgb[top : top + height, left : left + width], _DETECTION_SIDE)
    scale = np.array([width / small.shape[1], height / small.shape[0]])
    for detector in detectors:
        for detection in detector(small):
            yield detection.placed(scale, np.array([left, top], float))


def tiles(width: int, height: int) -> list[Window]:
    """Overlapping square windows in which faces too small for the whole picture are found."""
    side = min(width, height) // 2
    if side < _SMALLEST_TILE:
        return []
    return [Window(left, top, side, side) for top in _offsets(height, side) for left in _offsets(width, side)]


def _offsets(length: int, side: int) -> list[int]:
    """Beginnings of windows that cover `length`, overlapping by three tenths or more."""
    count = ceil((length - side) / (0.7 * side)) + 1
    return [round(k * (length - side) / (count - 1)) for k in range(count)]


def shrunk(rgb: Picture, side: int) -> Picture:
    """The picture with its longer side at most `side`; the models see less than that anyway."""
    scale = side / max(rgb.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(rgb)
    return cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
