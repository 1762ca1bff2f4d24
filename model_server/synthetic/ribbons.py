"""Strands as ribbons: polylines widened to strips of triangles that face the viewer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]


def ribbon_triangles(count: tuple[int, ...], first: int) -> Ints:
    """Triangles of the ribbons of (strands, points per strand), whose vertices start at index `first`."""
    strands, points = count
    base = first + 2 * (np.arange(strands)[:, None] * points + np.arange(points - 1)[None, :]).ravel()
    one = np.stack([base, base + 1, base + 2], 1)
    other = np.stack([base + 1, base + 3, base + 2], 1)
    return np.stack([one, other], 1).reshape(-1, 3)


@njit(cache=True, nogil=True, fastmath=True)
def widen(curves: Floats, width: Floats, eye: Floats) -> tuple[Floats, Floats]:
    """Ribbon vertices (2 N K, 3) facing the eye, and their unit tangents, from curves (N, K, 3)."""
    strands, count = curves.shape[0], curves.shape[1]
    points = np.empty((strands * count * 2, 3), np.float32)
    tangents = np.empty_like(points)
    for s in range(strands):
        for k in range(count):
            # Tangent from the neighbours; across the ribbon runs its cross product with the view.
            before, after = max(k - 1, 0), min(k + 1, count - 1)
            tx = curves[s, after, 0] - curves[s, before, 0]
            ty = curves[s, after, 1] - curves[s, before, 1]
            tz = curves[s, after, 2] - curves[s, before, 2]
            scale = 1.0 / (np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9)  # no length is zero: tips repeat
            vx, vy, vz = eye[0] - curves[s, k, 0], eye[1] - curves[s, k, 1], eye[2] - curves[s, k, 2]
            ox, oy, oz = ty * vz - tz * vy, tz * vx - tx * vz, tx * vy - ty * vx
            reach = 0.5 * width[s, k] / (np.sqrt(ox * ox + oy * oy + oz * oz) + 1e-9)
            i = 2 * (s * count + k)
            for side in range(2):
                sign = reach if side == 0 else -reach
                points[i + side, 0] = curves[s, k, 0] + sign * ox
                points[i + side, 1] = curves[s, k, 1] + sign * oy
                points[i + side, 2] = curves[s, k, 2] + sign * oz
                tangents[i + side, 0], tangents[i + side, 1] = tx * scale, ty * scale
                tangents[i + side, 2] = tz * scale
    return points, tangents
