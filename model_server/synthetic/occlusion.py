"""Soft shadows baked per vertex: visibility seen from directions around the head, kept as spherical harmonics.

After Sloan, Kautz and Snyder, "Precomputed radiance transfer for real-time rendering in dynamic, low-frequency
lighting environments" (2002), with visibility alone, so that normals may still follow the expression.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_server.synthetic.hair import Strands
from model_server.synthetic.rasterizer import vertex_normals, visible_triangles
from model_server.synthetic.ribbons import ribbon_triangles, widen

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]

DIRECTIONS = 48  # from which visibility is looked at
MAP_SIZE = 160  # side of a shadow map, pixels
HANN = (1.0, 0.75, 0.35)  # weights of bands 0, 1 and 2
SEEN_FIBRES = 1.6  # factor on the sky that a fibre sees, since hair lets some light through
BLOCKING = np.float32(1.5)  # factor on the ribbons' width where they throw shadows
SPAN = 46.0  # cm covered by a shadow map
SKIN_BIAS, HAIR_BIAS = 0.35, 0.7  # cm; hair lets some light through


def bake_occlusion(shape: Floats, solid: Ints, strands: Strands) -> tuple[Floats, Floats]:
    """Sky visibility (V,) and visibility by direction (V, 9) of solid vertices, then of ribbon vertices."""
    directions = fibonacci_sphere(DIRECTIONS)
    curves = strands.points.reshape(-1, 3)
    seen = np.stack([_visible_from(d, shape, solid, strands) for d in directions], 1)
    normals = vertex_normals(shape, solid)
    facing = np.clip(normals @ directions.T, 0.0, None) + 1e-4
    sky_weight = (0.5 + 0.5 * directions[:, 1]) ** 0.5  # the higher, the more light comes from there
    surface = (seen[: len(shape)] * facing * sky_weight).sum(1) / (facing * sky_weight).sum(1)
    fibre = (seen[len(shape) :] * sky_weight).sum(1) / sky_weight.sum() * SEEN_FIBRES
    coefficients = seen @ harmonics(directions) * (4 * np.pi / DIRECTIONS)
    # A Hann window on the bands keeps the truncated series from ringing.
    coefficients *= np.repeat(HANN, [1, 3, 5])
    # Both edges of a ribbon are lit as the strand in its middle.
    order = np.concatenate([np.arange(len(shape)), len(shape) + np.arange(len(curves)).repeat(2)])
    openness = np.concatenate([surface, np.minimum(fibre, 1.0)])
    return openness[order].astype(np.float32), coefficients[order].astype(np.float32)


def visibility_towards(coefficients: Floats, directions: Floats) -> Floats:
    """Visibility (V, D) 0..1 towards unit directions (D, 3)."""
    return np.clip(coefficients @ harmonics(directions).T, 0.0, 1.0).astype(np.float32)


def harmonics(directions: Floats) -> Floats:
    """Real spherical harmonics (D, 9) of bands 0 to 2: 1, y, z, x, xy, yz, 3z² - 1, xz, x² - y².

    Factors make them orthonormal on the sphere: sqrt(1 / 4π), sqrt(3 / 4π), sqrt(15 / 4π), sqrt(5 / 16π), ...
    """
    x, y, z = np.asarray(directions, np.float32).T
    one = np.ones_like(x)
    return np.stack(
        [
            0.282095 * one, 0.488603 * y, 0.488603 * z, 0.488603 * x,
            1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1),
            1.092548 * x * z, 0.546274 * (x * x - y * y),
        ],
        1,
    ).astype(np.float32)  # fmt: skip


def fibonacci_sphere(count: int) -> Floats:
    """Evenly spread unit vectors (count, 3)."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    angle = np.pi * (1 + np.sqrt(5)) * index  # by the golden ratio, so that no two turns line up
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], 1).astype(np.float32)


def _visible_from(direction: Floats, shape: Floats, solid: Ints, strands: Strands) -> Floats:
    """1 where vertices (S,), then points of strands (N * K,), are seen from a unit direction, by a shadow map."""
    right = np.cross([0.0, 1.0, 0.0], direction)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(direction, right), direction]).astype(np.float32)
    far_off = direction * np.float32(1e4)
    ribbon, _ = widen(strands.points, strands.width * BLOCKING, far_off)
    scale = MAP_SIZE / SPAN
    points = np.concatenate([shape, ribbon]) @ axes.T
    screen = np.stack([points[:, 0] * scale + MAP_SIZE / 2, MAP_SIZE / 2 - points[:, 1] * scale, points[:, 2]], 1)
    ribbons = ribbon_triangles(strands.points.shape[:2], len(shape))
    triangles = np.concatenate([solid, ribbons]).astype(np.int32)
    _, nearness = visible_triangles(screen.astype(np.float32), triangles, 0, (MAP_SIZE, MAP_SIZE))
    tested = np.concatenate([shape, strands.points.reshape(-1, 3)]) @ axes.T
    bias = np.repeat([SKIN_BIAS, HAIR_BIAS], [len(shape), strands.points.shape[0] * strands.points.shape[1]])
    column = np.clip((tested[:, 0] * scale + MAP_SIZE / 2).astype(int), 0, MAP_SIZE - 1)
    row = np.clip((MAP_SIZE / 2 - tested[:, 1] * scale).astype(int), 0, MAP_SIZE - 1)
    return (tested[:, 2] + bias >= nearness[row, column]).astype(np.float32)
