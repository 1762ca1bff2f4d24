"""One channel of two, without what they have in common cancelling out; as the server does it with whole files."""

from __future__ import annotations

import numpy as np

BLOCK = 0.02
MEMORY = 0.3
"""Seconds for which one choice holds, and over which loudness is watched."""
CANCELLED = 0.25
"""The mean of unrelated channels keeps half of their mean power; less than half of that means that they cancel."""


def mono(samples: np.ndarray, rate: int) -> np.ndarray:
    """The mean of the channels, and the louder one where the mean cancels; (n, channels) to (n,), both float32."""
    mean, size = samples.mean(axis=1), max(1, round(BLOCK * rate))
    if not len(samples):
        return mean
    edges = np.arange(0, len(samples), size)
    energies = np.stack([np.add.reduceat(signal**2, edges) for signal in (*samples.T, mean)])
    cancels = _watched(energies[-1]) < CANCELLED * _watched(energies[:-1].mean(axis=0))
    if not cancels.any():
        return mean
    louder = np.cumsum(energies[:-1], axis=1).argmax(axis=0)
    return _faded(samples, mean, np.where(cancels, louder, -1), size)


def _watched(energies: np.ndarray) -> np.ndarray:
    """Energies of blocks, each with what is remembered of those before it."""
    kept, total = np.exp(-BLOCK / MEMORY), 0.0
    watched = np.empty(len(energies))
    for index, energy in enumerate(energies):
        watched[index] = total = total * kept + energy
    return watched


def _faded(samples: np.ndarray, mean: np.ndarray, chosen: np.ndarray, size: int) -> np.ndarray:
    """The chosen channel of each block, -1 for the mean, with a block's time to change."""
    mixed, before = np.empty_like(mean), int(chosen[0])
    for index, now in enumerate(map(int, chosen)):
        here = slice(index * size, (index + 1) * size)
        part = [mean[here] if one < 0 else samples[here, one] for one in (before, now)]
        fade = np.linspace(0, 1, len(part[0]), dtype=np.float32)
        mixed[here] = part[0] * (1 - fade) + part[1] * fade if now != before else part[1]
        before = now
    return mixed
