"""Where latents and their windows lie in time, exactly. Does not import torch.

Windows lie on a fixed grid, so a latent is the same whatever range is asked for.
"""

from __future__ import annotations

import numpy as np

from model_server.engines.runtime.even_rows import ROWS_PER_SECOND, Floats

LATENTS_PER_SECOND = ROWS_PER_SECOND
# Latents of a window, and from one window's beginning to the next one's: ten seconds, two of which overlap (our choice,
# after DiffDub and Ditto).
WINDOW, HOP = 250, 200
OVERLAP = WINDOW - HOP
# Seconds before and after a window whose sound may count for it, too.
HEARING = 5
# Seconds before and after a frame whose sound and pose it may depend on: a whole window's, and what is heard around it.
REACH = WINDOW // LATENTS_PER_SECOND + HEARING


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
