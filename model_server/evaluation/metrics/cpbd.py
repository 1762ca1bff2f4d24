"""Cumulative probability of blur detection (Narvekar and Karam, IEEE TIP 2011), written from the definition."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.evaluation.comparison import Comparison
from model_server.evaluation.metrics.registry import frame_mean, metric

_BLOCK = 64
_EDGE_SHARE = 0.002  # of a block's pixels; blocks with fewer edge pixels are smooth and not judged
_BETA = 3.6
_JUST_NOTICEABLE = 0.63  # probability of seeing blur whose width is just noticeable
_LOW_CONTRAST = 50
_NO_EDGES, _WEAK = 70, 0.4  # percentile of the gradient that an edge exceeds, and the part of it that extends one

Floats = NDArray[np.floating]


def cpbd(rgb: NDArray[np.uint8]) -> float:
    """CPBD of an RGB picture (h, w, 3) in [0, 1], higher is sharper; NaN for a picture without edges."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gradient = np.asarray(cv2.Sobel(grey, cv2.CV_32F, 1, 0), np.float32)
    widths = edge_widths(grey, gradient)
    edges = _thin_edges(grey, gradient)
    tolerable = _tolerable_widths(grey)
    judged = edges & (tolerable > 0)
    if not judged.any():
        return float("nan")
    seen = 1 - np.exp(-((widths[judged] / tolerable[judged]) ** _BETA))
    return float((seen <= _JUST_NOTICEABLE + 0.005).mean())  # a width just at the limit has 0.632


def edge_widths(grey: Floats, gradient: Floats) -> Floats:
    """Pixels (h, w) between the extremes on both sides of each pixel along its row (Marziliano et al. 2002)."""
    rises = np.diff(grey, axis=1)
    up = _run(rises > 0)
    down = _run(rises < 0)
    return np.where(gradient > 0, up, down).astype(np.float32)


def _run(steps: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Length of the unbroken run of true steps that touches each pixel; there is one step less than pixels."""
    height, count = steps.shape
    before = np.zeros((height, count + 1), np.int32)
    after = np.zeros((height, count + 1), np.int32)
    for x in range(count):
        before[:, x + 1] = (before[:, x] + 1) * steps[:, x]
        after[:, count - 1 - x] = (after[:, count - x] + 1) * steps[:, count - 1 - x]
    return before + after


def _thin_edges(grey: Floats, gradient: Floats) -> NDArray[np.bool_]:
    """Vertical edges of Sobel: above twice the root mean square of the gradient, and largest along their row."""
    strength = np.abs(gradient)
    energy = gradient**2 + cv2.Sobel(grey, cv2.CV_32F, 0, 1) ** 2
    padded = np.pad(strength, ((0, 0), (1, 1)))
    largest = (strength >= padded[:, :-2]) & (strength > padded[:, 2:])
    return largest & (strength**2 > 4 * energy.mean())


def _tolerable_widths(grey: Floats) -> Floats:
    """Just noticeable blur width of each pixel's block: 5 at low contrast, else 3; 0 in smooth and partial blocks."""
    widths = np.zeros_like(grey)
    canny = _canny(grey)
    for top in range(0, grey.shape[0] - _BLOCK + 1, _BLOCK):
        for left in range(0, grey.shape[1] - _BLOCK + 1, _BLOCK):
            block = slice(top, top + _BLOCK), slice(left, left + _BLOCK)
            if canny[block].mean() > _EDGE_SHARE:
                widths[block] = 5 if np.ptp(grey[block]) <= _LOW_CONTRAST else 3
    return widths


def _canny(grey: Floats) -> NDArray[np.bool_]:
    """Edges with thresholds relative to the picture's own gradients, so that a blurred picture has some too."""
    strength = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    high = float(np.percentile(strength, _NO_EDGES))
    return np.asarray(cv2.Canny(grey.astype(np.uint8), _WEAK * high, high, L2gradient=True) > 0)


@metric(
    "cpbd", "CPBD", "higher",
    "Narvekar and Karam 2011 on the made frame alone: share of vertical edges whose blur is not noticed, blocks of "
    "64x64, beta 3.6, just noticeable width 5 at contrasts up to 50, else 3; own implementation, compare only with "
    "the true frames' value.",
)  # fmt: skip
def mean_cpbd(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return frame_mean(comparisons, "cpbd")
