"""The list of figures: each a function with its definition, so that no number is printed without one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model_server.evaluation.comparison import Comparison

Measure = Callable[[Sequence[Comparison]], float]
Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """A figure.

    Attributes:
        key: name in JSON.
        title: name in tables.
        better: which way is better.
        definition: what exactly it is, one sentence.
        measure: its value over takes, NaN where it does not apply.
    """

    key: str
    title: str
    better: Better
    definition: str
    measure: Measure


METRICS: dict[str, Metric] = {}


def metric(key: str, title: str, better: Better, definition: str) -> Callable[[Measure], Measure]:
    """Register a function as a figure."""

    def register(function: Measure) -> Measure:
        METRICS[key] = Metric(key, title, better, definition, function)
        return function

    return register


def mean(values: Iterable[float]) -> float:
    """Mean of the finite values, NaN when there is none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def frame_mean(comparisons: Sequence[Comparison], key: str) -> float:
    """Mean over takes of the mean over frames of a per-frame figure."""
    return mean(mean(c.pictures[key]) for c in comparisons if key in c.pictures)
