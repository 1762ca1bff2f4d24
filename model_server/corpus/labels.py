"""Labels derived from the 68 landmarks, in the same way for renders, footage and generated frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

_LEFT_EYE, _RIGHT_EYE, _MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)
_UPPER, _LOWER = [61, 62, 63], [67, 66, 65]


def alignment_points(landmarks: Floats) -> Floats:
    """Centres of left eye, right eye and mouth, (n, 3, 2), of landmarks (n, 68, 2)."""
    return np.stack([landmarks[:, part].mean(axis=1) for part in (_LEFT_EYE, _RIGHT_EYE, _MOUTH)], axis=1)


def lip_opening(landmarks: Floats) -> NDArray[np.float32]:
    """Gap between the inner lips over the distance of the eye centres, (n,), of landmarks (n, 68, 2)."""
    gap = np.linalg.norm(landmarks[:, _UPPER] - landmarks[:, _LOWER], axis=2).mean(axis=1)
    left, right, _ = np.moveaxis(alignment_points(landmarks), 1, 0)
    return np.asarray(gap / np.maximum(np.linalg.norm(right - left, axis=1), 1e-6), np.float32)


def transformed(landmarks: Floats, matrices: Floats) -> NDArray[np.float32]:
    """Landmarks (n, 68, 2) under one (2, 3) transform per frame."""
    return np.asarray(landmarks @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2], np.float32)
