"""Log-mel features of the recogniser: 80 bands, 100 rows per second, 25 ms windows, so that starts of phonemes show.

Row m is centred on sample 160 m + 80, so two rows lie around the middle of each 20 ms step. Digital silence is 0, as
is the padding of the convolutions that read it.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

SAMPLE_RATE = 16000
MEL_BANDS = 80
HOP = 160
ROWS_PER_STEP = 2
STEP = HOP * ROWS_PER_STEP  # samples of a step of 20 ms
STEPS_PER_SECOND = SAMPLE_RATE // STEP
# Root mean square that speech is brought to before it is read; that of the mel windows of PC-AVS.
REFERENCE_RMS = 0.1

_WINDOW, _FFT = 400, 512
_LOWEST, _HIGHEST = 40.0, 7800.0  # Hz
_FLOOR_DB, _RANGE_DB = -80.0, 100.0


def step_count(samples: int) -> int:
    """Steps of 20 ms that so many samples take, the last one perhaps not filled."""
    return -(-samples // STEP)


def log_mel(samples: Tensor) -> Tensor:
    """Log-mel rows (n, 2 * steps, 80), 0 for silence and about 1 for the loudest speech.

    Args:
        samples: (n, t) mono 16 kHz sound at the reference loudness.
    """
    rows = ROWS_PER_STEP * step_count(samples.shape[-1])
    before = (_WINDOW - HOP) // 2
    after = max(0, (rows - 1) * HOP + _WINDOW - before - samples.shape[-1])
    padded = torch.nn.functional.pad(samples, (before, after))
    frames = padded.unfold(-1, _WINDOW, HOP)[..., :rows, :] * _hann()
    power = torch.fft.rfft(frames, _FFT).abs().square()
    decibels = 10 * torch.log10((power @ _filter_bank()).clamp(min=10 ** (_FLOOR_DB / 10)))
    return (decibels - _FLOOR_DB) / _RANGE_DB


@cache
def _hann() -> Tensor:
    return torch.hann_window(_WINDOW, periodic=False)


@cache
def _filter_bank() -> Tensor:
    """Triangles (257, 80) evenly spaced on the mel scale of O'Shaughnessy (1987), each of sum 1."""
    edges = torch.linspace(_mel(_LOWEST), _mel(_HIGHEST), MEL_BANDS + 2, dtype=torch.float64)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bins = torch.arange(_FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / _FFT
    # The lowest triangles are narrower than a bin; a width of two bins keeps each of them on some.
    low = torch.minimum(hertz[:-2], hertz[1:-1] - SAMPLE_RATE / _FFT)
    high = torch.maximum(hertz[2:], hertz[1:-1] + SAMPLE_RATE / _FFT)
    rising = (bins[:, None] - low) / (hertz[1:-1] - low)
    falling = (high - bins[:, None]) / (high - hertz[1:-1])
    bank = torch.minimum(rising, falling).clamp(min=0)
    return (bank / bank.sum(0)).float()


def _mel(hertz: float) -> float:
    return 2595 * float(torch.log10(torch.tensor(1 + hertz / 700, dtype=torch.float64)))
