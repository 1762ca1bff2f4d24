"""A simple clothed torso below the head's neck, so that portraits do not end in a cut bust."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]

# Rows from collar to chest: height, half width and half depth (cm), and how far the section reaches back.
SECTIONS = np.array(
    [
        [-12.6, 6.9, 6.6, -1.6],
        [-12.2, 7.4, 7.1, -1.6],
        [-12.8, 8.3, 7.8, -1.6],
        [-14.8, 10.5, 8.6, -1.2],
        [-16.2, 14.0, 9.4, -1.5],
        [-17.8, 17.3, 10.0, -1.7],
        [-20.0, 19.6, 10.8, -1.8],
        [-24.0, 21.0, 11.6, -1.8],
        [-32.0, 21.6, 12.4, -1.8],
        [-48.0, 21.0, 12.8, -1.8],
    ]
)

ROWS_BETWEEN = 4  # of the mesh, for each two sections


def torso(neckline: float, columns: int = 72) -> tuple[Floats, Ints]:
    """Vertices (N, 3) in cm and triangles (M, 3) of a shirt whose collar opens at the front with `neckline` 0..1."""
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    front = np.clip(np.cos(angle), 0, 1) ** 4  # 1 under the chin, 0 from the shoulders back
    rows = []
    for index, (height, width, depth, back) in enumerate(_refined(ROWS_BETWEEN)):
        fall = np.exp(-index / 9.0)  # the collar's form fades with the rows below it
        x = width * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.9
        z = back + depth * np.cos(angle) + 1.6 * front * fall * neckline
        y = height - front * fall * (1.0 + 4.5 * neckline) + (1 - np.cos(angle)) * 1.3 * fall
        rows.append(np.stack([x, y, z], 1))
    points = np.concatenate(rows).astype(np.float32)
    return points, _grid_triangles(len(rows), columns)


def _refined(factor: int) -> Floats:
    places = np.arange(len(SECTIONS))
    fine = np.linspace(0, len(SECTIONS) - 1, (len(SECTIONS) - 1) * factor + 1)
    return np.stack([np.interp(fine, places, SECTIONS[:, column]) for column in range(4)], 1)


def _grid_triangles(rows: int, columns: int) -> Ints:
    row, column = np.mgrid[0 : rows - 1, 0:columns]
    here, right = row * columns + column, row * columns + (column + 1) % columns
    below, diagonal = here + columns, right + columns
    triangles = np.stack([np.stack([here, below, right], -1), np.stack([right, below, diagonal], -1)], 2)
    return triangles.reshape(-1, 3).astype(np.int32)
