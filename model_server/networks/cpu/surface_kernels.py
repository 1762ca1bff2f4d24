"""The loop that draws a surface of triangles, compiled by Numba: what is nearest to the camera is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server.networks.cpu.compiler import compiled, compiled_part
from model_server.networks.cpu.kernels import Floats

Triangles = NDArray[np.int32]
# Of the numbers of a corner: where it is in the picture, x and y in pixels, how far away, and what it shows.
_PLACE = 3
# Rounding leaves no pixel between two triangles undrawn.
_OUTSIDE = -1e-4


@compiled
def draw(corners: Floats, triangles: Triangles, shown: Floats, away: Floats) -> None:
    """What triangles show at the middle of each pixel, between their corners in straight lines.

    Args:
        corners: (v, 3 + k): x, y in pixels, distance from the camera, and k numbers to show.
        triangles: (t, 3) of corners, either way round.
        shown: (h, w, k), drawn over where something nearer than `away` is seen.
        away: (h, w), how far away what is seen is.
    """
    for triangle in range(len(triangles)):
        _draw_one(corners, triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2], shown, away)


@compiled_part
def _draw_one(corners: Floats, a: int, b: int, c: int, shown: Floats, away: Floats) -> None:
    height, width, count = shown.shape
    ax, ay, bx, by, cx, cy = corners[a, 0], corners[a, 1], corners[b, 0], corners[b, 1], corners[c, 0], corners[c, 1]
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if area == np.float32(0):
        return
    half, one = np.float32(0.5), np.float32(1)
    left, right = max(int(np.ceil(min(ax, bx, cx) - half)), 0), min(int(np.floor(max(ax, bx, cx) - half)), width - 1)
    top, low = max(int(np.ceil(min(ay, by, cy) - half)), 0), min(int(np.floor(max(ay, by, cy) - half)), height - 1)
    for row in range(top, low + 1):
        y = np.float32(row) + half
        for column in range(left, right + 1):
            x = np.float32(column) + half
            of_b = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
            of_c = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
            of_a = one - of_b - of_c
            if min(of_a, of_b, of_c) < np.float32(_OUTSIDE):
                continue
            depth = of_a * corners[a, 2] + of_b * corners[b, 2] + of_c * corners[c, 2]
            if depth < away[row, column]:
                away[row, column] = depth
                for k in range(count):
                    first, second, third = corners[a, _PLACE + k], corners[b, _PLACE + k], corners[c, _PLACE + k]
                    shown[row, column, k] = of_a * first + of_b * second + of_c * third
