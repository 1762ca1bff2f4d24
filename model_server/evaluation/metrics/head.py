"""Does the head follow the pose source?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_server.evaluation.comparison import Comparison
from model_server.evaluation.metrics.lips import correlation
from model_server.evaluation.metrics.registry import Measure, mean, metric

Floats = NDArray[np.float32]

LIMIT = 30.0  # degrees; beyond, the detector itself is poor
AXES = ("yaw", "pitch", "roll")
_FRAMES = (
    "over all frames whose driving head is within 30 degrees on every axis, each clip's mean taken away (so that "
    "standing still is no success); angles by solvePnP of a fixed 3D face to the mesh"
)


def within_limit(comparisons: Sequence[Comparison]) -> tuple[Floats, Floats]:
    """Angles (n, 3) of made and of driving frames of all takes, where the driving head is within 30 degrees."""
    pairs = [(c.made.angles, c.driver.angles) for c in comparisons if c.driver]
    if not pairs:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    made, driver = (np.concatenate(angles) for angles in zip(*pairs, strict=True))
    inside = (np.abs(driver) <= LIMIT).all(axis=1)
    return made[inside], driver[inside]


def _error(axis: int) -> Measure:
    def error(comparisons: Sequence[Comparison]) -> float:
        made, driver = within_limit(comparisons)
        return mean(np.abs(made[:, axis] - driver[:, axis]))

    return error


def _correlation(axis: int) -> Measure:
    def follows(comparisons: Sequence[Comparison]) -> float:
        parts = [tuple(_centred(angles) for angles in within_limit([c])) for c in comparisons if c.driver]
        if not parts:
            return float("nan")
        made, driver = (np.concatenate(angles) for angles in zip(*parts, strict=True))
        return correlation(made[:, axis], driver[:, axis])

    return follows


def _centred(angles: Floats) -> Floats:
    """Angles (n, 3) without their mean, NaN rows staying NaN."""
    return angles - np.nanmean(angles, axis=0) if np.isfinite(angles).any() else angles


def _frontal(axis: int) -> Measure:
    def away(comparisons: Sequence[Comparison]) -> float:
        return mean(mean(np.abs(c.frontal[:, axis])) for c in comparisons if c.frontal is not None)

    return away


for _axis, _name in enumerate(AXES):
    _title = _name.capitalize()
    metric(
        f"{_name}_r",
        f"{_title} r",
        "higher",
        f"Pearson correlation of the {_name} of made and driving frames {_FRAMES}.",
    )(_correlation(_axis))
    metric(f"{_name}_error", f"{_title} error, °", "lower", f"Mean absolute difference of the {_name}, same frames.")(
        _error(_axis)
    )
for _axis, _name in enumerate(AXES[:2]):
    _title = _name.capitalize()
    metric(
        f"frontal_{_name}", f"{_title} at code 0, °", "lower",
        f"Mean absolute {_name} of frames made from the pose code 0, which means a frontal view.",
    )(_frontal(_axis))  # fmt: skip
