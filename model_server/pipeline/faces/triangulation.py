"""Triangles of points in a picture, and which of them lie in an outline."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def triangulated(points: Floats) -> NDArray[np.int32]:
    """Delaunay's triangles (T, 3) of points (V, 2)."""
    low, high = np.floor(points.min(axis=0)) - 1, np.ceil(points.max(axis=0)) + 1
    division = cv2.Subdiv2D((int(low[0]), int(low[1]), int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1))
    numbers = {}
    for number, (x, y) in enumerate(points):
        numbers[division.insert((float(x), float(y)))] = number
    triangles = []
    for x0, y0, x1, y1, x2, y2 in division.getTriangleList():
        corners = [
            numbers.get(division.findNearest((float(x), float(y)))[0]) for x, y in ((x0, y0), (x1, y1), (x2, y2))
        ]
        inside = all(low[0] <= x <= high[0] and low[1] <= y <= high[1] for x, y in ((x0, y0), (x1, y1), (x2, y2)))
        if inside and None not in corners:
            triangles.append(corners)
    return np.array(triangles, np.int32)


def lie_inside(points: Floats, triangles: NDArray[np.int32], outline: Sequence[int]) -> NDArray[np.bool_]:
    """Which triangles (T, 3) of points (V, 2) have their middle within the outline that some of the points make."""
    edge, middles = points[list(outline)].astype(np.float32), points[triangles].mean(axis=1)
    return np.array([cv2.pointPolygonTest(edge, (float(x), float(y)), False) >= 0 for x, y in middles])
