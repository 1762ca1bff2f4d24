"""Landmark distances (LMD) of mouth and face contour; the contour stands for the head's pose, as in the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.labels import alignment_points
from model_server.evaluation.comparison import Comparison
from model_server.evaluation.metrics.registry import mean, metric

Floats = NDArray[np.floating]

CONTOUR, MOUTH = slice(0, 17), slice(48, 68)
_BY = "mediapipe's face mesh, an independent detector (values of papers with dlib or FAN are not comparable)"


def distance(made: Floats, true: Floats) -> float:
    """Mean distance in pixels between points (n, k, 2), frames without a face left out."""
    return mean(np.linalg.norm(made - true, axis=-1).mean(axis=-1))


def normalised(made: Floats, true: Floats, part: slice) -> float:
    """Mean distance over the true frame's distance between the eyes, in percent."""
    left, right, _ = np.moveaxis(alignment_points(true), 1, 0)
    eyes = np.linalg.norm(right - left, axis=-1)
    return mean(100 * np.linalg.norm(made[:, part] - true[:, part], axis=-1).mean(axis=-1) / eyes)


def centred(points: Floats) -> Floats:
    """Points (n, k, 2) about their own centre."""
    return points - points.mean(axis=1, keepdims=True)


def _over_takes(comparisons: Sequence[Comparison], measure: Callable[[Floats, Floats], float]) -> float:
    return mean(measure(c.made.landmarks, c.true.landmarks) for c in comparisons)


@metric(
    "lmd_mouth", "Mouth LMD, px", "lower",
    f"Mean distance of the 20 mouth points from those of the true frame, pixels of the 224 network view; by {_BY}.",
)  # fmt: skip
def lmd_mouth(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return _over_takes(comparisons, lambda made, true: distance(made[:, MOUTH], true[:, MOUTH]))


@metric("lmd_mouth_percent", "Mouth LMD, %", "lower", "Mouth LMD over the true distance between the eye centres.")
def lmd_mouth_percent(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return _over_takes(comparisons, lambda made, true: normalised(made, true, MOUTH))


@metric(
    "lmd_mouth_centred", "Mouth LMD centred, px", "lower",
    "Mouth LMD after each mouth's centre is moved to the same place: shape without place.",
)  # fmt: skip
def lmd_mouth_centred(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return _over_takes(comparisons, lambda made, true: distance(centred(made[:, MOUTH]), centred(true[:, MOUTH])))


@metric(
    "lmd_pose", "Pose LMD, px", "lower",
    "Mean distance of the 17 contour points from those of the true frame, pixels; by the same detector.",
)  # fmt: skip
def lmd_pose(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return _over_takes(comparisons, lambda made, true: distance(made[:, CONTOUR], true[:, CONTOUR]))


@metric("lmd_pose_percent", "Pose LMD, %", "lower", "Pose LMD over the true distance between the eye centres.")
def lmd_pose_percent(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return _over_takes(comparisons, lambda made, true: normalised(made, true, CONTOUR))


@metric("faces", "Faces found", "higher", "Share of made frames in which the independent detector finds a face.")
def faces(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(float(np.isfinite(c.made.landmarks[:, 0, 0]).mean()) for c in comparisons)
