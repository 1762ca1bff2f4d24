"""A portrait turned as the surface that it shows. The paper has nothing of the kind.

How places move when a head turns follows from how far from the camera they are; a network that must learn it from
pictures bends faces beyond some 20 degrees. So where the depth of a portrait is known, geometry says from where each
place of the frame is fetched, and what is nearer hides what lies behind it. The networks refine that, speak and paint.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from model_server.networks.cpu import surface_kernels

Floats = NDArray[np.float32]

TURNED_SIZE = 112
# From the pivot to the camera, in halves of the view; by the landmarks of rendered heads that turn.
_DISTANCE = 10.0
# x to the right, y down, z away from the camera, as pictures have them, to the axes of head angles and back.
_FLIP = np.array([1.0, -1.0, -1.0], np.float32)


class TurningSurface:
    """What a portrait shows, as a grid of places in space.

    Lengths are halves of the view; the view's middle is 0, its edges lie at -1 and 1.

    Args:
        depth: how much further from the camera places are than the pivot, (m, m) from top left to bottom right.
        follows: how much of the head's turn each of them takes part in, (m, m), 0 to 1.
        pivot: x and y of what stays in its place, (2,).
        reach: how far the grid reaches beyond the view on each side.
    """

    def __init__(self, depth: Floats, follows: Floats, pivot: Floats, reach: float) -> None:
        side = np.linspace(-1 - reach, 1 + reach, len(depth), dtype=np.float32)
        self._places = np.stack([*np.meshgrid(side, side), depth], axis=-1).reshape(-1, 3)
        self._follows = follows.reshape(-1, 1)
        self._pivot = np.array([*pivot, 0.0], np.float32)
        self._triangles = _triangles(len(depth))

    def offsets(self, turn: Floats) -> Floats:
        """Offsets (2, 112, 112) in x and y from a place of the turned picture to where the portrait shows it.

        Args:
            turn: rotation matrix (3, 3) from how the portrait holds the head.
        """
        places, pivot = self._places, self._pivot
        # No matrix product, whose last bits depend on how many threads work on it.
        x, y, z = ((places - pivot) * _FLIP).T
        turned = np.stack([x * a + y * b + z * c for a, b, c in turn.astype(np.float32)], axis=1) * _FLIP
        turned[:, :2] *= (_DISTANCE + places[:, 2:]) / (_DISTANCE + turned[:, 2:])
        seen = places + self._follows * (pivot + turned - places)
        seen[:, :2] = (seen[:, :2] + 1) * (TURNED_SIZE / 2)
        still = _centres()
        shown, away = still.copy(), np.full(still.shape[:2], np.inf, np.float32)
        surface_kernels.draw(np.concatenate([seen, places[:, :2]], axis=1), self._triangles, shown, away)
        return np.ascontiguousarray((shown - still).transpose(2, 0, 1))


@cache
def _triangles(side: int) -> NDArray[np.int32]:
    """Two for each square of a grid, (t, 3)."""
    number = np.arange(side * side, dtype=np.int32).reshape(side, side)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    return np.concatenate([np.stack(three, axis=-1).reshape(-1, 3) for three in ((a, b, c), (b, d, c))])


def _centres() -> Floats:
    """x and y of the middles of the picture's pixels, (112, 112, 2)."""
    row = (np.arange(TURNED_SIZE, dtype=np.float32) * 2 + 1) / TURNED_SIZE - 1
    return np.stack(np.meshgrid(row, row), axis=-1)
