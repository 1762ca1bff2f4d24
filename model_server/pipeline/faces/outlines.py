"""Soft masks of outlines: how far inside a polygon a place is."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

# Distances change so evenly from place to place that finer cells than these are interpolated.
_CELLS = 128


def grid(side: int) -> NDArray[np.float64]:
    """Places (side, side, 2) of a picture's pixels."""
    return np.stack(np.meshgrid(*2 * [np.arange(side, dtype=np.float64)]), axis=-1)


def inside_distance(places: Points, polygon: Points) -> NDArray[np.float64]:
    """Distance of places (..., 2) from a polygon's edge, positive inside; polygon (n, 2), in order.

    Exact, so that a mask moves with its outline by any fraction of a pixel.
    """
    x, y = np.ascontiguousarray(np.moveaxis(places, -1, 0))
    squares, odd = np.full(x.shape, np.inf), np.zeros(x.shape, np.bool_)
    # Edge by edge, arrays stay in the processor's cache.
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        (dx, dy), right, below = end - start, x - start[0], y - start[1]
        along = np.clip((right * dx + below * dy) / max(dx**2 + dy**2, 1e-12), 0, 1)
        squares = np.minimum(squares, (right - along * dx) ** 2 + (below - along * dy) ** 2)
        if dy:
            odd ^= ((y < start[1]) != (y < end[1])) & (right < dx / dy * below)
    distance = np.sqrt(squares)
    return np.where(odd, distance, -distance)


def inside_map(side: int, polygon: Points) -> NDArray[np.float32]:
    """`inside_distance` of a picture's pixels, (side, side); of large pictures between cells, of which 128 span it."""
    cells = min(side, _CELLS)
    size = side / cells
    near = inside_distance((grid(cells) + 0.5) * size - 0.5, polygon).astype(np.float32)
    return cv2.resize(near, (side, side)).astype(np.float32, copy=False)


def smooth_step(x: NDArray[Any]) -> NDArray[Any]:
    """0 up to 0, 1 from 1 on, without a corner between (Hermite)."""
    t = np.clip(x, 0, 1)
    return t * t * (3 - 2 * t)
