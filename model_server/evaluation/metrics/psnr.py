"""Peak signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_server.evaluation.comparison import Comparison
from model_server.evaluation.metrics.registry import frame_mean, metric

LIMIT = 100.0  # decibel said of equal pictures, so that means stay finite


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """PSNR in decibel of two 8-bit pictures of one shape, 100 when they are equal."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return min(float(10 * np.log10(255**2 / error)), LIMIT) if error else LIMIT


@metric(
    "psnr", "PSNR, dB", "higher",
    "10 log10(255^2 / mean squared error) of 8-bit RGB network views, made against true frame; 100 when equal.",
)  # fmt: skip
def mean_psnr(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return frame_mean(comparisons, "psnr")
