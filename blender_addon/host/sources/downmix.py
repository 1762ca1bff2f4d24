"""One channel of two, without what they have in common cancelling out; as the server does it with whole files."""

from __future__ import annotations

import numpy as np

BLOCK = 0.02
MEMORY = 0.3
"""Seconds for which one choice holds, and over which loudness is watched."""
CANCELLED = 0.5
"""The powers of unrelated channels add up in the mix; less than half of that means that they cancel."""

APART, ALIKE, WATCHED_RATE = 0.0015, 0.8, 8000
"""Seconds and likeness up to which two microphones hear one voice, and the rate at which that is watched."""

ASIDE = 0.5**0.5
GAINS = {
    3: (1, 1, 0),
    4: (1, 1, ASIDE, ASIDE),
    5: (1, 1, 2 * ASIDE, ASIDE, ASIDE),
    6: (1, 1, 2 * ASIDE, 0, ASIDE, ASIDE),
    7: (1, 1, 2 * ASIDE, 0, 1, ASIDE, ASIDE),
    8: (1, 1, 2 * ASIDE, 0, ASIDE, ASIDE, ASIDE, ASIDE),
}
"""How loud each channel is in the downmix of ITU-R BS.775. Blender knows channels by their number alone."""


def mono(samples: np.ndarray, rate: int) -> np.ndarray:
    """The standard downmix, and the louder channel where it cancels; (n, channels) to (n,), both float32."""
    samples, share = _balanced(samples)
    mix, size = samples.sum(axis=1) * share, max(1, round(BLOCK * rate))
    if len(samples.T) == 1 or not len(samples):
        return mix
    edges = np.arange(0, len(samples), size)
    energies = np.stack([np.add.reduceat(signal**2, edges) for signal in (*samples.T, mix)])
    cancels = _watched(energies[-1]) < CANCELLED * share**2 * _watched(energies[:-1].sum(axis=0))
    if samples.shape[1] == 2:
        cancels |= _opposed(samples, rate, size)
    if not cancels.any():
        return mix
    louder = np.cumsum(energies[:-1], axis=1).argmax(axis=0)
    return _faded(samples, mix, np.where(cancels, louder, -1), size)


def _balanced(samples: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """The channels that are heard, as loud as the two speakers play them together, and each one's share in the mix."""
    gains = GAINS.get(samples.shape[1])
    if gains is None:
        return samples, np.float32(1 / samples.shape[1])
    heard = np.array(gains, np.float32)
    return samples[:, heard > 0] * heard[heard > 0], np.float32(0.5)


def _opposed(samples: np.ndarray, rate: int, size: int) -> np.ndarray:
    """In which blocks the two channels are the same sound with opposite signs, one of them a little later.

    There the largest value of the normalised cross-correlation is negative, and the mix is a comb filter.
    """
    step = max(1, rate // WATCHED_RATE)
    reach, count, blocks = round(APART * rate / step), size // step, len(samples) // size
    opposed = np.zeros(-(-len(samples) // size), bool)
    if not blocks or count < 4 * reach:
        return opposed
    whole = samples[: blocks * size].reshape(blocks, size, 2)[:, : count * step]
    left, right = np.moveaxis(whole.reshape(blocks, count, step, 2).mean(axis=2, dtype=np.float64), 2, 0)
    left, right = left - left.mean(axis=1, keepdims=True), right - right.mean(axis=1, keepdims=True)
    inner, wide = slice(reach, count - reach), count - 2 * reach
    found = [np.einsum("bn,bn->b", left[:, lag : lag + wide], right[:, inner]) for lag in range(2 * reach + 1)]
    products = _watched(np.array(found))
    strongest = np.take_along_axis(products, np.abs(products).argmax(axis=0)[None], axis=0)[0]
    energies = _watched(np.stack([(side[:, inner] ** 2).sum(axis=1) for side in (left, right)]))
    opposed[:blocks] = strongest < -ALIKE * np.sqrt(energies.prod(axis=0))
    opposed[blocks:] = opposed[blocks - 1]
    return opposed


def _watched(energies: np.ndarray) -> np.ndarray:
    """Energies of blocks (..., blocks), each with what is remembered of those before it."""
    kept, total = np.exp(-BLOCK / MEMORY), np.zeros(energies.shape[:-1])
    watched = np.empty(energies.shape)
    for index in range(energies.shape[-1]):
        watched[..., index] = total = total * kept + energies[..., index]
    return watched


def _faded(samples: np.ndarray, mix: np.ndarray, chosen: np.ndarray, size: int) -> np.ndarray:
    """The chosen channel of each block, -1 for the mix, with a block's time to change."""
    mixed, before = np.empty_like(mix), int(chosen[0])
    for index, now in enumerate(map(int, chosen)):
        here = slice(index * size, (index + 1) * size)
        part = [mix[here] if one < 0 else samples[here, one] for one in (before, now)]
        fade = np.linspace(0, 1, len(part[0]), dtype=np.float32)
        mixed[here] = part[0] * (1 - fade) + part[1] * fade if now != before else part[1]
        before = now
    return mixed
