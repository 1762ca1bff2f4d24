"""Steady in time: a bilateral filter that calms what rests and follows what moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_REACH = 8
_FRAMES = 3.0
# Movement, in distances between the eyes, at which a neighbour counts for 0.6 of what it would at rest.
_MOVEMENT = 0.02


def steadied(values: Floats, points: Floats) -> Floats:
    """`values` averaged with those of neighbouring frames in which the face is in almost the same place.

    A bilateral filter in time (Tomasi and Manduchi, ICCV 1998) without delay: measuring noise of a resting head
    vanishes, movement keeps its course. Rows of NaN stay out of it and stay as they are.

    Args:
        values: one row per frame of one shot, (n, ...).
        points: left eye, right eye and mouth, (n, 3, 2), NaN where there is no face.
    """
    shown = np.flatnonzero(np.isfinite(points[:, 0, 0]))
    if not len(shown):
        return values
    kept, places = values[shown], points[shown]
    eyes = np.median(np.linalg.norm(places[:, 1] - places[:, 0], axis=1))
    total, weights = kept.copy(), np.ones(len(shown))
    for offset in range(1, _REACH + 1):
        frames = shown[offset:] - shown[:-offset]
        movement = np.linalg.norm(places[offset:] - places[:-offset], axis=2).mean(axis=1) / max(float(eyes), 1e-6)
        weight = np.exp(-0.5 * ((frames / _FRAMES) ** 2 + (movement / _MOVEMENT) ** 2))
        shaped = weight.reshape(-1, *[1] * (kept.ndim - 1))
        total[offset:] += shaped * kept[:-offset]
        total[:-offset] += shaped * kept[offset:]
        weights[offset:] += weight
        weights[:-offset] += weight
    result = values.copy()
    result[shown] = total / weights.reshape(-1, *[1] * (kept.ndim - 1))
    return result
