"""A z-buffer rasteriser for one CPU core: nearest triangle per pixel, found again as barycentrics.

Only triangle ids are written while drawing; barycentric weights are worked out once per visible pixel. Ids and weights
name the same surface point in every frame of an identity, which gives dense correspondence between any two frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]
EMPTY = -1


@dataclass(frozen=True)
class Camera:
    """A pinhole camera on the z axis that looks along -z.

    Attributes:
        size: (height, width) of the picture, pixels.
        focal: focal length, pixels.
        distance: distance of the camera from the origin, cm.
        centre: (x, y) pixel to which the z axis projects.
        roll: radians by which the picture is turned clockwise around that pixel.
    """

    size: tuple[int, int]
    focal: float
    distance: float
    centre: tuple[float, float]
    roll: float = 0.0

    def project(self, points: Floats) -> Floats:
        """Screen coordinates (N, 3) of points (N, 3): x and y in pixels, and nearness 1/depth in 1/cm."""
        nearness = 1.0 / (self.distance - points[:, 2])
        right, up = self.focal * points[:, 0] * nearness, self.focal * points[:, 1] * nearness
        if self.roll:
            cosine, sine = np.cos(self.roll), np.sin(self.roll)
            right, up = cosine * right + sine * up, cosine * up - sine * right
        return np.stack([self.centre[0] + right, self.centre[1] - up, nearness], axis=1).astype(np.float32)

    def scaled(self, factor: int) -> Camera:
        """The same view with `factor` times as many pixels along each side."""
        height, width = self.size
        x, y = self.centre
        centre = (x * factor, y * factor)
        return Camera((height * factor, width * factor), self.focal * factor, self.distance, centre, self.roll)

    def transformed(self, matrix: Floats, size: tuple[int, int]) -> Camera:
        """The camera whose picture of the given size is this one's under a similarity (2, 3), drawn anew."""
        x, y = matrix[:, :2] @ self.centre + matrix[:, 2]
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        roll = self.roll + float(np.arctan2(matrix[1, 0], matrix[0, 0]))
        return Camera(size, self.focal * scale, self.distance, (float(x), float(y)), roll)


@njit(cache=True, nogil=True, fastmath=True)
def draw(screen: Floats, triangles: Ints, culled: int, ids: Ints, nearness: Floats) -> None:
    """Draws triangles into the buffers, the nearest one winning.

    Args:
        screen: (V, 3) x, y in pixels and nearness (greater wins).
        triangles: (T, 3) vertex indices.
        culled: the first `culled` triangles are drawn only where they face the viewer.
        ids: (H, W) visible triangle, updated in place; `EMPTY` where none.
        nearness: (H, W) nearness of that triangle, updated in place.
    """
    height, width = ids.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = screen[a, 0], screen[a, 1], screen[a, 2]
        bx, by, bz = screen[b, 0], screen[b, 1], screen[b, 2]
        cx, cy, cz = screen[c, 0], screen[c, 1], screen[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # The y axis points down on screen, so a triangle that faces the viewer has negative area.
        if area == 0.0 or (area > 0.0 and t < culled):
            continue
        left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - 0.5)), width - 1)
        top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), height - 1)
        if left > right or top > bottom:
            continue
        scale = 1.0 / area
        # Weights are linear on the screen: along a row each pixel's are those of the one before plus a step.
        step_b, step_c = (cy - ay) * scale, -(by - ay) * scale
        for y in range(top, bottom + 1):
            py, px = y + 0.5 - ay, left + 0.5 - ax
            wb = (px * (cy - ay) - py * (cx - ax)) * scale
            wc = (py * (bx - ax) - px * (by - ay)) * scale
            for x in range(left, right + 1):
                if wb >= 0.0 and wc >= 0.0 and wb + wc <= 1.0:
                    near = az + wb * (bz - az) + wc * (cz - az)
                    if near > nearness[y, x]:
                        nearness[y, x] = near
                        ids[y, x] = t
                wb += step_b
                wc += step_c


@njit(cache=True, nogil=True, fastmath=True)
def perspective_weights(screen: Floats, a: int, b: int, c: int, px: float, py: float) -> tuple[float, float, float]:
    """Perspective-correct barycentric weights of the point seen at pixel position (px, py).

    Those on the screen times each corner's nearness, in place of a division by its depth.
    """
    abx, aby = screen[b, 0] - screen[a, 0], screen[b, 1] - screen[a, 1]
    acx, acy = screen[c, 0] - screen[a, 0], screen[c, 1] - screen[a, 1]
    scale = 1.0 / (abx * acy - aby * acx)
    px -= screen[a, 0]
    py -= screen[a, 1]
    wb = (px * acy - py * acx) * scale
    wc = (py * abx - px * aby) * scale
    wa = (1.0 - wb - wc) * screen[a, 2]
    wb *= screen[b, 2]
    wc *= screen[c, 2]
    total = 1.0 / (wa + wb + wc)
    return wa * total, wb * total, wc * total


@njit(cache=True, nogil=True, fastmath=True)
def vertex_normals(points: Floats, triangles: Ints) -> Floats:
    """Unit normals (V, 3), averaged over the triangles around each vertex, weighted by area."""
    normals = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(points.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-12
        normals[v] /= length
    return normals


@njit(cache=True, nogil=True, fastmath=True)
def barycentrics(screen: Floats, triangles: Ints, ids: Ints) -> Floats:
    """Perspective-correct weights (H, W, 3) of the visible triangles' corners; zero where nothing is drawn."""
    height, width = ids.shape
    weights = np.zeros((height, width, 3), np.float32)
    for y in range(height):
        for x in range(width):
            t = ids[y, x]
            if t >= 0:
                wa, wb, wc = perspective_weights(
                    screen, triangles[t, 0], triangles[t, 1], triangles[t, 2], x + 0.5, y + 0.5
                )
                weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = wa, wb, wc
    return weights


def visible_triangles(screen: Floats, triangles: Ints, culled: int, size: tuple[int, int]) -> tuple[Ints, Floats]:
    """Triangle ids (H, W) and nearness (H, W) of a picture of the given (height, width)."""
    ids = np.full(size, EMPTY, np.int32)
    nearness = np.full(size, -np.inf, np.float32)
    draw(screen, triangles, culled, ids, nearness)
    return ids, nearness
