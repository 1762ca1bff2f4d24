"""What is told of speech in rows 25 a second, whatever the frame rate: where a dub's frames lie among them, exactly."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROWS_PER_SECOND = 25


def row_place(frame: int, fps: Fraction) -> Fraction:
    """Where the middle of a dub's frame lies among the rows, the first of which begins with the dub."""
    return ROWS_PER_SECOND * Fraction(2 * frame + 1, 2) / fps - Fraction(1, 2)


def frame_place(row: int, fps: Fraction) -> Fraction:
    """Where the middle of a row lies among the frames of a dub; inverse of `row_place`."""
    return fps * Fraction(2 * row + 1, 2 * ROWS_PER_SECOND) - Fraction(1, 2)


def rows_around(places: list[Fraction]) -> range:
    """The rows that some places, in order, lie on or between."""
    return range(max(floor(places[0]), 0), max(floor(places[-1]), 0) + 2)


def between(rows: Floats, place: Fraction) -> Floats:
    """The row at a place among rows (n, d), on a straight line between two; outside of them the first or last one."""
    inside = min(max(place, Fraction(0)), Fraction(len(rows) - 1))
    before = floor(inside)
    share = np.float32(inside - before)
    return rows[before] if share == 0 else rows[before] * (1 - share) + rows[before + 1] * share
