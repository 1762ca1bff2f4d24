"""Does the mouth follow the speech, and not the pose source?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_server.evaluation.comparison import Comparison
from model_server.evaluation.metrics.registry import mean, metric

Floats = NDArray[np.floating]

_FEWEST = 10  # frames for a correlation
_STILL = 1e-4  # rounding


def correlation(made: Floats, true: Floats) -> float:
    """Pearson correlation of two courses (n,), NaN values left out.

    A course that does not move where the other one does follows nothing: 0. NaN when `true` does not move either.
    """
    both = np.isfinite(made) & np.isfinite(true)
    if both.sum() < _FEWEST or np.std(true[both]) < _STILL:
        return float("nan")
    if np.std(made[both]) < _STILL:
        return 0.0
    return float(np.corrcoef(made[both], true[both])[0, 1])


@metric(
    "lips", "Lip opening r", "higher",
    "Pearson correlation of the lip opening (gap of the inner lips over the distance between the eyes, by the mesh) "
    "of made and true frames of a clip; mean over clips.",
)  # fmt: skip
def lips(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(correlation(c.made.opening, c.true.opening) for c in comparisons)


def _movement(course: Floats) -> float:
    """Standard deviation of the finite values, NaN when there is none."""
    finite = course[np.isfinite(course)]
    return float(np.std(finite)) if len(finite) else float("nan")


@metric(
    "lips_amplitude", "Lip movement", "higher",
    "Standard deviation of the made lip opening over that of the true one: 1 is right, near 0 the mouth is frozen and "
    "its correlation is the detector's noise; mean over clips.",
)  # fmt: skip
def lips_amplitude(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    pairs = [(_movement(c.made.opening), _movement(c.true.opening)) for c in comparisons]
    return mean(made / true for made, true in pairs if true > _STILL)


@metric(
    "leak", "Mouth leak r", "lower",
    "Pearson correlation of the lip opening of made frames and of a pose source that speaks with another mouth; mean "
    "over clips.",
)  # fmt: skip
def leak(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(
        correlation(c.cross_made.opening, c.cross_driver.opening)
        for c in comparisons
        if c.cross_made and c.cross_driver
    )


def partial_correlation(made: Floats, other: Floats, true: Floats) -> float:
    """Correlation of two courses (n,) after the part that each shares with a third is taken away."""
    rows = np.stack([made, other, true])
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    if rows.shape[1] < _FEWEST or np.std(rows[2]) < _STILL:
        return correlation(rows[0], rows[1])
    centred = rows - rows.mean(axis=1, keepdims=True)
    rest = centred[:2] - np.outer(centred[:2] @ centred[2] / (centred[2] @ centred[2]), centred[2])
    return correlation(rest[0], rest[1])


@metric(
    "leak_partial", "Mouth leak partial r", "lower",
    "The same correlation after what either course shares with the true frames' is taken away: clips of one kind pause "
    "at like times, which is no leak.",
)  # fmt: skip
def leak_partial(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(
        partial_correlation(c.cross_made.opening, c.cross_driver.opening, c.true.opening)
        for c in comparisons
        if c.cross_made and c.cross_driver
    )


@metric(
    "leak_floor", "Mouth leak r of the truth", "lower",
    "The same correlation between true frames and that pose source: what two independent mouths have in common.",
)  # fmt: skip
def leak_floor(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(correlation(c.true.opening, c.cross_driver.opening) for c in comparisons if c.cross_driver)
