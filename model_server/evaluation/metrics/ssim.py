"""Structural similarity (Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 2004)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.evaluation.comparison import Comparison
from model_server.evaluation.metrics.registry import frame_mean, metric

_SIDE, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """SSIM of two RGB pictures (h, w, 3), 1 when they are equal."""
    x, y = one.astype(np.float64), other.astype(np.float64)
    mean_x, mean_y = _local(x), _local(y)
    var_x, var_y = _local(x * x) - mean_x**2, _local(y * y) - mean_y**2
    covariance = _local(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    return float((likeness / ((mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2))).mean())


def _local(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian means of all windows that lie inside the picture."""
    margin = _SIDE // 2
    blurred = cv2.GaussianBlur(values, (_SIDE, _SIDE), _SIGMA)
    return np.asarray(blurred[margin:-margin, margin:-margin], np.float64)


@metric(
    "ssim", "SSIM", "higher",
    "Wang et al. 2004 on 8-bit RGB network views of 224x224: Gaussian windows 11x11 of sigma 1.5 inside the picture, "
    "K1 0.01, K2 0.03, mean over channels and places; made against true frame.",
)  # fmt: skip
def mean_ssim(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return frame_mean(comparisons, "ssim")
