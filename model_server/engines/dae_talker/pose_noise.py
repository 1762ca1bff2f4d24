"""Head movement that speech does not tell: low-passed noise, the same for a seed whatever range is asked for.

Speech to pose is one to many, and regression tells the mean of all that would do; noise of the variance that it lacks
makes up for it (our choice, after Live Speech Portraits, Lu et al. 2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server.engines.dae_talker.time_axis import LATENTS_PER_SECOND, Floats

# 90 % of the noise's power lies below this rate. Of heads that speak it is 0.8 Hz and more (as measured on 83 s of one
# speaker), nods included; but these go with the voice and are predicted. Noise as quick as that hides them (motion
# beats at onsets of the sound 0.62, of another sound 0.61; so 0.67 and 0.62).
_CUTOFF_HERTZ = 0.5
# Width in latents of a Gaussian that leaves so: the error function is 0.9 at 1.163.
_SIGMA = 1.163 / (2 * np.pi * _CUTOFF_HERTZ) * LATENTS_PER_SECOND
_HALF = int(np.ceil(4 * _SIGMA))
_BLOCK = 256


def pose_noise(latents: range, columns: int, seed: int) -> Floats:
    """Smooth noise (n, columns) of mean 0 and deviation 1 for a run of latents that begins at 0 or later."""
    white = _white(range(latents.start, latents.stop + 2 * _HALF), columns, seed)
    kernel = np.exp(-0.5 * (np.arange(-_HALF, _HALF + 1) / _SIGMA) ** 2)
    kernel /= np.sqrt(np.square(kernel).sum())
    return np.stack([np.convolve(white[:, k], kernel, "valid") for k in range(columns)], 1).astype(np.float32)


def _white(places: range, columns: int, seed: int) -> NDArray[np.float64]:
    blocks = range(places.start // _BLOCK, (places.stop - 1) // _BLOCK + 1)
    drawn = [np.random.default_rng([seed, block]).standard_normal((_BLOCK, columns)) for block in blocks]
    first = places.start - blocks.start * _BLOCK
    return np.concatenate(drawn)[first : first + len(places)]
