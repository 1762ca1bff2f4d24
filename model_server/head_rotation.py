"""Head angles as rotation matrices: x to the viewer's right, y up, z to the camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float32]:
    """Rotation matrix (3, 3) of head angles in degrees: roll first, then pitch, then yaw."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians([yaw, pitch, roll])), np.sin(np.radians([yaw, pitch, roll]))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tilt = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return (turn @ nod @ tilt).astype(np.float32)


def angles_of(matrix: NDArray[np.floating]) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a rotation matrix, the inverse of `rotation`."""
    yaw, pitch = np.arctan2(matrix[0, 2], matrix[2, 2]), np.arcsin(np.clip(matrix[1, 2], -1.0, 1.0))
    roll = np.arctan2(-matrix[1, 0], matrix[1, 1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))
