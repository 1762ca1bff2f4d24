"""Is it still the same person?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_server.evaluation.comparison import Comparison, Gallery
from model_server.evaluation.metrics.registry import mean, metric

Floats = NDArray[np.floating]


def similarities(vectors: Floats, gallery: Gallery) -> Floats:
    """Cosines (n, N) of vectors (n, d) with the gallery's portraits."""
    unit, portraits = (
        v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9) for v in (vectors, gallery.vectors)
    )
    return unit @ portraits.T


@metric(
    "identity", "Identity cosine", "higher",
    "Cosine of the identity vectors of made frames and of the portrait, by the identity encoder of the weights named "
    "in the notes, the same for all methods; every fifth frame.",
)  # fmt: skip
def identity(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(
        float(similarities(c.identity, c.gallery)[:, c.gallery.own].mean())
        for c in comparisons
        if c.identity is not None and c.gallery
    )


@metric(
    "identity_found", "Identity found", "higher",
    "Share of those frames whose own portrait is the nearest one in a gallery of at most 20 people.",
)  # fmt: skip
def identity_found(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(
        float((similarities(c.identity, c.gallery).argmax(axis=1) == c.gallery.own).mean())
        for c in comparisons
        if c.identity is not None and c.gallery and len(c.gallery.vectors) > 1
    )


@metric("identity_guess", "Identity found by chance", "higher", "One over the number of people in the gallery.")
def identity_guess(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(1 / len(c.gallery.vectors) for c in comparisons if c.gallery and len(c.gallery.vectors) > 1)
