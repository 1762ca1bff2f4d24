"""Where latents, their windows and a dub's frames lie in time, exactly. Does not import torch.

Windows lie on a fixed grid, so a latent is the same whatever range is asked for.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LATENTS_PER_SECOND = 25
# Latents of a window, and from one window's beginning to the next one's: ten seconds, two of which overlap (our choice,
# after DiffDub and Ditto).
WINDOW, HOP = 250, 200
OVERLAP = WINDOW - HOP
# Seconds before and after a window whose sound may count for it, too.
HEARING = 5
# Seconds before and after a frame whose sound and pose it may depend on: a whole window's, and what is heard around it.
REACH = WINDOW // LATENTS_PER_SECOND + HEARING


def latent_place(frame: int, fps: Fraction) -> Fraction:
    """Where the middle of a dub's frame lies among the latents, whose frames begin with the dub's."""
    return LATENTS_PER_SECOND * Fraction(2 * frame + 1, 2) / fps - Fraction(1, 2)


def frame_place(latent: int, fps: Fraction) -> Fraction:
    """Where the middle of a latent's frame lies among the frames of a dub; inverse of `latent_place`."""
    return fps * Fraction(2 * latent + 1, 2 * LATENTS_PER_SECOND) - Fraction(1, 2)


def between(rows: Floats, place: Fraction) -> Floats:
    """The row at a place among rows (n, d), on a straight line between two; outside of them the first or last one."""
    inside = min(max(place, Fraction(0)), Fraction(len(rows) - 1))
    before = floor(inside)
    share = np.float32(inside - before)
    return rows[before] if share == 0 else rows[before] * (1 - share) + rows[before + 1] * share


def windows_over(latents: range) -> range:
    """Numbers of the windows that hold some of a run of latents, which begins at 0 or later."""
    return range(max(0, (latents.start - OVERLAP) // HOP), (latents.stop - 1) // HOP + 1)


def window_latents(number: int) -> range:
    """Latents of a window."""
    return range(number * HOP, number * HOP + WINDOW)


def window_weights(number: int) -> Floats:
    """Weights (window,) of a window's latents: it fades in over the one before it, and out over the next."""
    rising = (np.arange(OVERLAP, dtype=np.float32) + 0.5) / OVERLAP
    weights = np.ones(WINDOW, np.float32)
    weights[HOP:] = 1 - rising
    if number > 0:
        weights[:OVERLAP] = rising
    return weights
