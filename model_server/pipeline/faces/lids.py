"""How far lids are closed, read off the outlines of the eyes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

# iBUG points of both eyes: corners, then two of the upper lid and those under them.
_CORNERS = ((36, 39), (42, 45))
_LIDS = (((37, 41), (38, 40)), ((43, 47), (44, 46)))
# Height over width of an open eye where nothing better is known, and of a closed one as part of the open one's: what
# the face mesh finds on rendered people whose lids are known (0.63 to 0.81) and in blinks of footage. It sees little of
# them, so what is read off it is an estimate.
OPEN, SHUT = 0.28, 0.68
# Of a clip's frames, the part that has its eyes less open than what is called open.
_OPEN_SHARE = 0.8
# What the mesh's unrest reads as a little closed is open.
_REST = 0.35


def eye_ratio(landmarks: Floats) -> NDArray[np.float32]:
    """Height over width of the eyes, both together, (n,), of iBUG points (n, 68, 2)."""
    width = sum(_distance(landmarks, a, b) for a, b in _CORNERS)
    height = sum(_distance(landmarks, a, b) for eye in _LIDS for a, b in eye) / 2
    return np.asarray(height / np.maximum(width, 1e-6), np.float32)


def open_ratio(ratios: Floats) -> float:
    """The ratio that open eyes have in a clip, by the ratios (n,) of its frames; NaN where no face was found."""
    known = ratios[np.isfinite(ratios)]
    return float(np.quantile(known, _OPEN_SHARE)) if len(known) else OPEN


def closure(ratios: Floats, opened: float) -> NDArray[np.float32]:
    """Closure of the lids (n,) from 0, open, to 1, of ratios (n,); open where none is known.

    Args:
        ratios: as `eye_ratio` gives them.
        opened: the ratio of this person's open eyes.
    """
    shut = SHUT * opened
    closed = np.clip((opened - np.nan_to_num(ratios, nan=opened)) / max(opened - shut, 1e-6), 0, 1)
    return np.asarray(np.clip((closed - _REST) / (1 - _REST), 0, 1), np.float32)


def _distance(landmarks: Floats, one: int, other: int) -> Floats:
    return np.linalg.norm(landmarks[:, one] - landmarks[:, other], axis=1)
