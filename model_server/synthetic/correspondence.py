"""Dense correspondence: where each pixel of one frame lies in another frame of the same identity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from model_server.synthetic.rasterizer import perspective_weights

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]

UNDER_HAIR = 6  # times the usual tolerance: how deep under other hair a strand still counts as seen


@njit(cache=True, nogil=True)
def correspond(
    triangles: Ints, ids: Ints, screen: Floats, other_ids: Ints, other_screen: Floats, factor: int, tolerance: float
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Where the surface points seen at the centres of one frame's pixels are in another frame.

    Args:
        triangles: (T, 3) vertex indices shared by both frames.
        ids: (h, w) visible triangle per sample of the frame asked about, -1 for the backdrop.
        screen: (V, 3) that frame's projected vertices, in samples: x, y, nearness.
        other_ids: (h, w) visible triangles of the other frame.
        other_screen: (V, 3) projected vertices of the other frame.
        factor: samples per pixel along each side.
        tolerance: a point counts as visible when the surface in front of it there is nearer by less than this part.

    Returns:
        Pixel positions (H, W, 2) as x, y in the other frame, the position itself on the backdrop, which stands still;
        and whether the point is visible there (H, W).
    """
    height, width = ids.shape[0] // factor, ids.shape[1] // factor
    places = np.empty((height, width, 2), np.float32)
    visible = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            row, column = y * factor + factor // 2, x * factor + factor // 2
            px, py, near = column + 0.5, row + 0.5, 0.0
            if ids[row, column] >= 0:
                px, py, near = _followed(triangles, ids[row, column], screen, other_screen, px, py)
            places[y, x, 0], places[y, x, 1] = px / factor, py / factor
            visible[y, x] = _seen(triangles, other_ids, other_screen, px, py, near, tolerance)
    return places, visible


@njit(cache=True, nogil=True)
def correspond_at(
    points: Floats,
    backdrop: Floats,
    triangles: Ints,
    ids: Ints,
    screen: Floats,
    other_ids: Ints,
    other_screen: Floats,
    tolerance: float,
    strands: int,
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """As `correspond`, for single points of pictures that may show the backdrop at different places.

    Args:
        points: (N, 2) x, y in samples, inside the frame asked about.
        backdrop: (N, 2) where each of them lies in the other frame, in samples, if it shows the backdrop.
        triangles, ids, screen, other_ids, other_screen, tolerance: see `correspond`.
        strands: first triangle of those that are hair: what hair hides of hair that lies under it looks the same.

    Returns:
        Places (N, 2) in the other frame, in samples, and whether the point is visible there (N,).
    """
    places = np.empty((len(points), 2), np.float32)
    visible = np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        t = ids[int(np.floor(points[i, 1])), int(np.floor(points[i, 0]))]
        px, py, near = backdrop[i, 0], backdrop[i, 1], 0.0
        if t >= 0:
            px, py, near = _followed(triangles, t, screen, other_screen, points[i, 0], points[i, 1])
        places[i, 0], places[i, 1] = px, py
        allowed = tolerance * UNDER_HAIR if t >= strands and _at(other_ids, px, py) >= strands else tolerance
        visible[i] = _seen(triangles, other_ids, other_screen, px, py, near, allowed)
    return places, visible


@njit(cache=True, nogil=True)
def _at(ids: Ints, px: float, py: float) -> int:
    """The triangle at sample position (px, py), -1 for none."""
    row, column = int(np.floor(py)), int(np.floor(px))
    inside = row >= 0 and column >= 0 and row < ids.shape[0] and column < ids.shape[1]
    return ids[row, column] if inside else -1


@njit(cache=True, nogil=True)
def _followed(
    triangles: Ints, t: int, screen: Floats, other_screen: Floats, px: float, py: float
) -> tuple[float, float, float]:
    """Place (x, y in samples) and nearness in the other frame of the point of triangle t seen at (px, py)."""
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    wa, wb, wc = perspective_weights(screen, a, b, c, px, py)
    wa, wb, wc = wa * other_screen[a, 2], wb * other_screen[b, 2], wc * other_screen[c, 2]
    near = wa + wb + wc
    x = (wa * other_screen[a, 0] + wb * other_screen[b, 0] + wc * other_screen[c, 0]) / near
    y = (wa * other_screen[a, 1] + wb * other_screen[b, 1] + wc * other_screen[c, 1]) / near
    return x, y, near


@njit(cache=True, nogil=True)
def _seen(triangles: Ints, ids: Ints, screen: Floats, px: float, py: float, near: float, tolerance: float) -> bool:
    """Whether nothing hides a point of this nearness (0: the backdrop) at sample position (px, py)."""
    row, column = int(np.floor(py)), int(np.floor(px))
    if row < 0 or column < 0 or row >= ids.shape[0] or column >= ids.shape[1]:
        return False
    t = ids[row, column]
    if t < 0 or near == 0.0:
        return t < 0 and near == 0.0
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    wa, wb, wc = perspective_weights(screen, a, b, c, column + 0.5, row + 0.5)
    front = 1.0 / (wa / screen[a, 2] + wb / screen[b, 2] + wc / screen[c, 2])
    return front <= near * (1.0 + tolerance)
