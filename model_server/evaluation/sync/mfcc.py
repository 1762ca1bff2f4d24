"""The speech features that the official SyncNet was trained on: 13 MFCCs, 100 a second.

Frames of 25 ms every 10 ms without a window, pre-emphasis 0.97, 26 triangular mel filters from 0 Hz to 8 kHz on a
512-point power spectrum, logarithm, orthonormal DCT, sine lifter 22, and the log energy in the place of the first.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE = 16000
FRAME, HOP = 400, 160
COEFFICIENTS = 13
_FFT, _FILTERS, _EMPHASIS, _LIFTER = 512, 26, 0.97, 22
_FLOOR = np.finfo(float).eps

Floats = NDArray[np.float64]


def mfcc(samples: NDArray[np.floating], before: float = 0.0) -> Floats:
    """MFCCs (1 + (n - 400) // 160, 13) of mono 16 kHz sound, in the scale of 16-bit samples.

    Args:
        samples: (n,) with n >= 400.
        before: the sample before the first, for the pre-emphasis.
    """
    signal = np.asarray(samples, np.float64)
    emphasised = signal - _EMPHASIS * np.concatenate([[before], signal[:-1]])
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames, _FFT, axis=1)) ** 2 / _FFT
    energies = np.log(np.maximum(power @ _filter_bank().T, _FLOOR))
    features = energies @ _cosines().T * _lift()
    features[:, 0] = np.log(np.maximum(power.sum(axis=1), _FLOOR))
    return features


@cache
def _filter_bank() -> Floats:
    """Triangles (26, 257) between 28 points that are evenly spaced on the mel scale."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, _FILTERS + 2) / 2595) - 1)
    corners = np.floor((_FFT + 1) * hertz / RATE)
    bins = np.arange(_FFT // 2 + 1)
    bank = np.zeros((_FILTERS, len(bins)))
    for row, (low, middle, high) in zip(bank, zip(corners, corners[1:], corners[2:], strict=False), strict=True):
        rising = (bins >= low) & (bins < middle)
        falling = (bins >= middle) & (bins < high)
        row[rising] = (bins[rising] - low) / (middle - low)
        row[falling] = (high - bins[falling]) / (high - middle)
    return bank


@cache
def _cosines() -> Floats:
    """Orthonormal DCT-II (13, 26)."""
    k, n = np.arange(COEFFICIENTS)[:, None], np.arange(_FILTERS)
    matrix = np.sqrt(2 / _FILTERS) * np.cos(np.pi * k * (n + 0.5) / _FILTERS)
    matrix[0] /= np.sqrt(2)
    return matrix


@cache
def _lift() -> Floats:
    return 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / _LIFTER)
