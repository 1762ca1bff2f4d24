"""One channel of several, without what they have in common cancelling out."""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

# Seconds over which loudness is watched: longer than a syllable's attack, shorter than a word.
_MEMORY = 0.3
# The mean of unrelated channels keeps 1/n of their mean power; less than half of that means that they cancel.
_CANCELLED = 0.5
_MEAN = -1


class Downmix:
    """The mean of all channels, and the louder channel where the mean cancels.

    A microphone wired in antiphase is loud on both speakers and vanishes in the mean. The choice is made block by
    block and faded from one to the next, so it may change within a file without a click.

    Args:
        rate: samples per second, kept as an attribute.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._powers, self._mean = np.zeros(0), 0.0  # energies of late, of the channels and of their mean
        self._totals = np.zeros(0)
        self._choice = _MEAN

    def mono(self, samples: NDArray[np.floating]) -> NDArray[np.floating]:
        """(channels, n) to (n,); the number of channels may change from call to call."""
        channels, count = samples.shape
        if channels == 1 or not count:
            return samples.mean(axis=0)
        mean = samples.sum(axis=0) / channels
        before, after = self._chosen(samples, mean)
        if before == after:
            return _part(samples, mean, after)
        fade = np.linspace(0, 1, count, dtype=samples.dtype)
        return _part(samples, mean, before) * (1 - fade) + _part(samples, mean, after) * fade

    def _chosen(self, samples: NDArray[np.floating], mean: NDArray[np.floating]) -> tuple[int, int]:
        """The channel taken at the beginning of a block and at its end, -1 for the mean."""
        channels, count = samples.shape
        energies = np.einsum("cn,cn->c", samples, samples).astype(np.float64)
        first = len(self._powers) != channels
        if first:
            self._powers, self._totals, self._mean = np.zeros(channels), np.zeros(channels), 0.0
        kept = exp(-count / (_MEMORY * self.rate))
        self._powers, self._mean = self._powers * kept + energies, self._mean * kept + float(mean @ mean)
        self._totals += energies
        cancels = self._mean < self._powers.sum() / channels * _CANCELLED / channels
        before, self._choice = self._choice, int(self._totals.argmax()) if cancels else _MEAN
        return self._choice if first else before, self._choice


def _part(samples: NDArray[np.floating], mean: NDArray[np.floating], channel: int) -> NDArray[np.floating]:
    return mean if channel == _MEAN else samples[channel]
