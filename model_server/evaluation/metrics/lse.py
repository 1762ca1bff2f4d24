"""LSE-C and LSE-D: confidence and distance of the official SyncNet (Chung and Zisserman 2016; Prajwal et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_server.evaluation.comparison import Comparison, Pair
from model_server.evaluation.metrics.registry import mean, metric
from model_server.evaluation.metrics.sync import REACH

Floats = NDArray[np.floating]

_EPSILON = 1e-6  # torch's pairwise distance adds it to each difference
_NETWORK = "the official SyncNet (the user's syncnet_v2.model) on network views of 224x224"


def distances(pair: Pair) -> Floats:
    """Mean distances (31,) of pictures and sound at the offsets -15 to 15, the sound outside the clip being 0."""
    count = min(len(pair.pictures), len(pair.sound))
    padded = np.pad(pair.sound[:count], ((REACH, REACH), (0, 0)))
    pictures = pair.pictures[:count] + _EPSILON
    shifts = range(2 * REACH + 1)
    return np.array([np.linalg.norm(pictures - padded[k : k + count], axis=1).mean() for k in shifts])


@metric("lse_d", "LSE-D", "lower", f"Smallest mean distance over the offsets -15 to 15 of {_NETWORK}.")
def lse_d(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(float(distances(c.syncnet).min()) for c in comparisons if c.syncnet)


@metric("lse_c", "LSE-C", "higher", f"Median minus smallest mean distance over the offsets, of {_NETWORK}.")
def lse_c(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(_confidence(distances(c.syncnet)) for c in comparisons if c.syncnet)


def _confidence(course: Floats) -> float:
    return float(np.median(course) - course.min())
