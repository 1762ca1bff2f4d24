"""Toom and Cook's construction of minimal filtering (Lavin and Gray 2016, section 4).

A tile of the signal and the filter are each brought into a space in which filtering is a product, number by number:
one product for each point at which the polynomials are multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

# Results of a tile in one direction. With more, factors grow and float32 loses digits; with fewer, less is saved.
TILE = 4
# Where polynomials are multiplied, besides infinity: whole numbers as small as can be keep factors small.
_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)


@dataclass(frozen=True)
class Filtering:
    """Transforms of one direction for `TILE` results, by the points at which polynomials are multiplied.

    Attributes:
        data: (points, points), of a tile's pixels.
        kernel: (points, taps).
        result: (TILE, points), of the products.
    """

    data: NDArray[np.float64]
    kernel: NDArray[np.float64]
    result: NDArray[np.float64]


@cache
def filtering(taps: int) -> Filtering:
    """The points are 0, 1, -1, 2, ... and infinity, `TILE + taps - 1` in all."""
    points = _POINTS[: TILE + taps - 2]
    every = polynomial.polyfromroots(points)
    others = [polynomial.polyfromroots([other for other in points if other != point]) for point in points]
    weights = [polynomial.polyval(point, other) for point, other in zip(points, others, strict=True)]
    data = np.stack([*(np.append(other, 0) for other in others), every])
    kernel = np.vander(points, taps, increasing=True) / np.array(weights)[:, None]
    result = np.vander(points, TILE, increasing=True)
    at_infinity = [np.eye(size)[-1:] for size in (taps, TILE)]
    return Filtering(data, np.concatenate([kernel, at_infinity[0]]), np.concatenate([result, at_infinity[1]]).T.copy())


# Where tiles meet a kernel of two taps in one direction and of one in the other, products at the point 0 vanish. So
# pairs of points (row, column) of which one is 0 serve two of the four parities of rows and columns, others all four.
def edge_pairs(reach: int) -> list[tuple[int, int]]:
    """Pairs with a 0: both, then the row's, then the column's."""
    return [(0, 0), *((0, n) for n in range(1, reach)), *((n, 0) for n in range(1, reach))]


def inner_pairs(reach: int) -> list[tuple[int, int]]:
    """Pairs without a 0, row by row."""
    return [(row, column) for row in range(1, reach) for column in range(1, reach)]
