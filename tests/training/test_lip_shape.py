"""Lips are measured along the head's own axes: however it is held, the same lips give the same shape."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.networks.pcavs.presets import LIP_SHAPE_UNIT
from model_server.pipeline.faces.head_angles import axes_of
from model_server.training.pcavs.lip_shape import lip_shapes

# x to the viewer's right, y up, z out of the face; the eyes' outer corners are 1 apart.
_EYES, _NOSE = {36: (-0.5, 0.5, -0.1), 45: (0.5, 0.5, -0.1)}, {33: (0.0, 0.0, 0.0)}
FRAMES = 20


def landmarks(openings: NDArray, widths: NDArray, angles: NDArray, scale: float = 80.0) -> NDArray[np.float64]:
    """Points (n, 68, 2) of heads whose lips are open so far and so wide; the jaw follows the lips."""
    found = np.zeros((len(openings), 68, 2))
    for row, (opening, width, held) in enumerate(zip(openings, widths, angles, strict=True)):
        lips = {48: (-width / 2, -0.3, 0), 54: (width / 2, -0.3, 0), 51: (0, -0.2, 0), 62: (0, -0.25, 0)}
        below = {66: (0, -0.25 - opening, 0), 57: (0, -0.32 - opening, 0), 8: (0, -0.7 - opening, 0)}
        across, up = axes_of(held)
        for name, point in {**_EYES, **_NOSE, **lips, **below}.items():
            seen = np.array(point) @ np.stack([across, up, np.cross(across, up)])
            found[row, name] = 100 + scale * seen[:2] * (1, -1)
    return found


@pytest.mark.parametrize("held", [(0, 0, 0), (35, 0, 0), (0, 20, 0), (0, 0, 25), (-30, -15, 10)])
def test_the_same_lips_on_a_head_held_otherwise(held: tuple[float, float, float]) -> None:
    openings = np.linspace(0.0, 0.3, FRAMES)
    widths = np.full(FRAMES, 0.5)
    widths[:5] = 0.4
    found = lip_shapes(
        landmarks(openings, widths, np.tile(held, (FRAMES, 1)).astype(float)), np.tile(held, (FRAMES, 1))
    )
    opening, jaw, width, thickness = found.T * LIP_SHAPE_UNIT
    assert np.allclose(opening, openings, atol=1e-3)
    assert np.allclose(np.diff(jaw), np.diff(openings), atol=1e-3)
    assert abs(np.quantile(jaw, 0.1)) < 1e-3
    assert np.allclose(width[:5], -0.1, atol=1e-3) and np.allclose(width[5:], 0, atol=1e-3)
    assert np.allclose(thickness, 0, atol=1e-3)


def test_lips_that_are_not_known_stay_unknown_and_spoil_no_others() -> None:
    openings, straight = np.linspace(0.0, 0.3, FRAMES), np.zeros((FRAMES, 3))
    points = landmarks(openings, np.full(FRAMES, 0.5), straight)
    points[3] = np.nan
    found = lip_shapes(points, straight)
    known = np.arange(FRAMES) != 3
    assert np.isnan(found[3]).all()
    assert np.isfinite(found[known]).all()
    assert np.allclose(found[known, 0] * LIP_SHAPE_UNIT, openings[known], atol=1e-3)
