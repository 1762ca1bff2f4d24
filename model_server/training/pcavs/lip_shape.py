"""How lips are shaped in a clip, measured along the head's own axes, so that a turned head changes little."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server.networks.pcavs.presets import LIP_SHAPE_UNIT
from model_server.pipeline.faces.head_angles import axes_of
from model_server.pipeline.faces.lower_face import span_of

Floats = NDArray[np.floating]

# iBUG points: outer corners of the eyes, base of the nose, chin, corners of the mouth, middles of the lips' edges.
_EYES, _NOSE, _CHIN, _CORNERS = (36, 45), 33, 8, (48, 54)
_OUTER, _INNER = (51, 57), (62, 66)
# Part of a clip's frames whose jaw is no further down than at rest.
_RESTING = 0.1
# A head pitched or turned further than this is measured no better.
_LEAST_SHORTENED = 0.3


def lip_shapes(landmarks: Floats, angles: Floats) -> NDArray[np.float32]:
    """Shapes (n, 4) of one person's lips, in units of 0.03 of the distance between the eyes' outer corners.

    How far the lips are open; how far the jaw is down from where it rests in this clip; how much wider than mostly the
    mouth is; how much thicker than mostly the lips are. NaN where landmarks are.

    Args:
        landmarks: (n, 68, 2), pixels.
        angles: yaw, pitch and roll (n, 3), degrees.
    """
    span = span_of(landmarks[:, _EYES[0]], landmarks[:, _EYES[1]], angles)
    axes = axes_of(angles)
    across, up = axes[:, 0, :2] * (1, -1), axes[:, 1, :2] * (1, -1)

    def between(first: int, second: int, axis: Floats) -> Floats:
        shortened = np.maximum(np.linalg.norm(axis, axis=1), _LEAST_SHORTENED)
        return ((landmarks[:, second] - landmarks[:, first]) * axis).sum(1) / (shortened**2 * span)

    opening = between(*_INNER[::-1], up)
    jaw, width = between(_CHIN, _NOSE, up), between(*_CORNERS, across)
    thickness = between(*_OUTER[::-1], up) - opening
    measured = np.stack([opening, jaw, width, thickness], axis=1)
    if np.isfinite(measured).all(axis=1).any():
        rest = np.nanmedian(measured, axis=0)
        rest[:2] = 0.0, np.nanquantile(jaw, _RESTING)
        measured -= rest
    return (measured / LIP_SHAPE_UNIT).astype(np.float32)
