"""One channel of several, without what they have in common cancelling out."""

from __future__ import annotations

from functools import cache
from math import exp, sqrt

import av
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

# Seconds over which loudness is watched: longer than a syllable's attack, shorter than a word.
_MEMORY = 0.3
# The powers of unrelated channels add up in the mix; less than half of that means that they cancel.
_CANCELLED = 0.5
# Two microphones hear a voice at most so many seconds apart before it is two voices; and how alike, of 1, their signals
# are then, watched at a rate that leaves speech nearly all its energy.
_APART = 0.0015
_ALIKE = 0.8
_WATCHED_RATE = 8000
_MIX = -1
# How loud each channel is on the two speakers, as in ITU-R BS.775; bass effects are left out.
_ASIDE = 0.5**0.5
_LEFT = {"FL": 1.0, "DL": 1.0, "FC": _ASIDE, "BL": _ASIDE, "SL": _ASIDE, "FLC": _ASIDE, "WL": _ASIDE, "BC": 0.5}
_RIGHT = {"FR": 1.0, "DR": 1.0, "FC": _ASIDE, "BR": _ASIDE, "SR": _ASIDE, "FRC": _ASIDE, "WR": _ASIDE, "BC": 0.5}


@cache
def speaker_gains(layout: str) -> NDArray[np.float64]:
    """Gain of each channel on the left and the right speaker, (2, channels); 0 for channels without a name."""
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    return np.array([[side.get(name, 0.0) for name in names] for side in (_LEFT, _RIGHT)])


class Downmix:
    """The standard downmix of channels with names, else the mean of all, and the louder channel where they cancel.

    A microphone wired in antiphase is loud on both speakers and vanishes in the mix, or, where it stands apart, sounds
    hollow there. The choice is made block by
    block and faded from one to the next, so it may change within a file without a click.

    Args:
        rate: samples per second, kept as an attribute.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._powers, self._mix = np.zeros(0), 0.0  # energies of late, of the channels and of their mix
        self._totals = np.zeros(0)
        self._choice = _MIX
        self._opposition = _Opposition(rate)

    def mono(self, samples: NDArray[np.floating], layout: str = "") -> NDArray[np.floating]:
        """(channels, n) to (n,); the channels may change from call to call.

        Args:
            layout: names the channels as FFmpeg does; without one all count the same.
        """
        samples, share = _balanced(samples, layout)
        channels, count = samples.shape
        mix = samples.sum(axis=0) * share
        if channels == 1 or not count:
            return mix
        before, after = self._chosen(samples, mix, share)
        if before == after:
            return _part(samples, mix, after)
        fade = np.linspace(0, 1, count, dtype=samples.dtype)
        return _part(samples, mix, before) * (1 - fade) + _part(samples, mix, after) * fade

    def _chosen(self, samples: NDArray[np.floating], mix: NDArray[np.floating], share: float) -> tuple[int, int]:
        """The channel taken at the beginning of a block and at its end, -1 for the mix."""
        channels, count = samples.shape
        energies = np.einsum("cn,cn->c", samples, samples).astype(np.float64)
        first = len(self._powers) != channels
        if first:
            self._powers, self._totals, self._mix = np.zeros(channels), np.zeros(channels), 0.0
        kept = exp(-count / (_MEMORY * self.rate))
        self._powers, self._mix = self._powers * kept + energies, self._mix * kept + float(mix @ mix)
        self._totals += energies
        cancels = self._mix < self._powers.sum() * share**2 * _CANCELLED
        if channels == 2:
            cancels |= self._opposition.heard(samples, kept)
        before, self._choice = self._choice, int(self._totals.argmax()) if cancels else _MIX
        return self._choice if first else before, self._choice


class _Opposition:
    """Tells whether two channels are the same sound with opposite signs, one of them a little later.

    By the normalised cross-correlation of late: where its largest value is negative, the mix is a comb filter.
    """

    def __init__(self, rate: int) -> None:
        self._step = max(1, rate // _WATCHED_RATE)
        self._reach = round(_APART * rate / self._step)
        self._products, self._energies = np.zeros(2 * self._reach + 1), np.zeros(2)

    def heard(self, pair: NDArray[np.floating], kept: float) -> bool:
        """Given the next block, (2, n), and the share of all before it that still counts."""
        count = pair.shape[1] // self._step
        if count >= 4 * self._reach:
            thinned = pair[:, : count * self._step].reshape(2, count, self._step).mean(axis=2, dtype=np.float64)
            left, right = thinned - thinned.mean(axis=1, keepdims=True)
            inner = slice(self._reach, count - self._reach)
            windows = sliding_window_view(left, count - 2 * self._reach)
            self._products = self._products * kept + windows @ right[inner]
            self._energies = self._energies * kept + [left[inner] @ left[inner], right[inner] @ right[inner]]
        strongest = self._products[np.abs(self._products).argmax()]
        return bool(strongest < -_ALIKE * sqrt(self._energies.prod()))


def _balanced(samples: NDArray[np.floating], layout: str) -> tuple[NDArray[np.floating], float]:
    """The channels that are heard, as loud as two speakers play them, and each one's share in the mix."""
    if len(samples) < 3 or not layout:
        return samples, 1 / len(samples)
    gains = speaker_gains(layout).sum(axis=0)
    heard = gains > 0
    if not heard.any():
        return samples, 1 / len(samples)
    return samples[heard] * gains[heard, None].astype(samples.dtype), 1 / float(gains.sum())


def _part(samples: NDArray[np.floating], mix: NDArray[np.floating], channel: int) -> NDArray[np.floating]:
    return mix if channel == _MIX else samples[channel]
