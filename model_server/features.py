"""What networks hear and see of speech and faces, the same for dubs, corpora and training.

The mel features are those of PC-AVS (Zhou et al., CVPR 2021; layout of the authors' release): a bin m covers samples
[160 m - 1120, 160 m + 160) of the RMS-normalised speech. Outside the speech lie zeros, whose bins are exactly 0, so
every window of every frame exists. The face crop is that of VoxCeleb2 in 224x224 pixels, of which networks see a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache, lru_cache, partial
from math import floor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# Width and height of aligned face crops, and of what encoders look at.
CROP_SIDE = 224
# Networks see these columns and, from the top, as many rows of the crop, enlarged to its size.
VIEW_LEFT, VIEW_SIDE = 16, 192

SAMPLE_RATE = 16000
BIN_COUNT = 20
MEL_COUNT = 80
BINS_PER_SECOND = 100
# Samples that the Fourier transform of a bin takes, samples between bins, and those before a bin's own.
_FFT = 1280
_HOP = SAMPLE_RATE // BINS_PER_SECOND
_LEAD = _FFT - _HOP
_LOWEST_HERTZ, _HIGHEST_HERTZ = 125.0, 7600.0
# Loudness to which speech is brought, and the least that is taken for speech rather than silence.
_TARGET_RMS = 0.1
_RMS_FLOOR = 1e-4
# A bin's range of 1 is 100 dB; loud speech reaches 0.8, room tone of corpora 0.35 to 0.45.
_SILENCE = 0.45
# Bins are always computed in these aligned blocks, so a bin has the same bits in whatever batch it is asked for.
_BLOCK = 128


class Sound(Protocol):
    """Mono speech of any length, 16 kHz; sample 0 belongs to the beginning of frame 0."""

    @property
    def rms(self) -> float:
        """Root mean square of the whole source, around its mean."""
        ...

    def read(self, first: int, count: int) -> NDArray[np.float32]:
        """`count` samples in [-1, 1] from index `first` on, zeros outside the speech."""
        ...


def window_start(k: int, fps: Fraction) -> int:
    """First bin of frame k's window: floor(100 (k + 1/2) / fps + 1/2) - 10, at 25 fps the published 4 k - 8."""
    return floor(BINS_PER_SECOND * (k + Fraction(1, 2)) / fps + Fraction(1, 2)) - BIN_COUNT // 2


class MelWindows:
    """Log-mel windows of a dub's frames, in constant memory for speech of any length.

    Args:
        speech: its sample 0 is the beginning of frame 0.
        fps: frames per second of the dub.
    """

    def __init__(self, speech: Sound, fps: Fraction) -> None:
        self._fps = fps
        gain = gain_of(speech.rms)
        # Of the parts and not of `self`: in a circle the speech would outlive its last user.
        self._block = lru_cache(maxsize=8)(partial(_block, speech, gain))

    def windows(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """Windows of the frames `indices`, (n, 80 mel bands, 20 bins) in [0, 1], band 0 the lowest."""
        starts = np.array([window_start(k, self._fps) for k in indices], np.int64)
        bins = self._bins(starts[:, None] + np.arange(BIN_COUNT))
        return np.ascontiguousarray(bins.transpose(0, 2, 1))

    def _bins(self, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mel rows of the bins `wanted`, with one axis of 80 appended."""
        rows = np.empty((*wanted.shape, MEL_COUNT), np.float32)
        block_of = wanted // _BLOCK
        for number in np.unique(block_of):
            here = block_of == number
            rows[here] = self._block(int(number))[wanted[here] % _BLOCK]
        return rows


def _block(speech: Sound, gain: np.float32, number: int) -> NDArray[np.float32]:
    first = number * _BLOCK * _HOP - _LEAD
    return mel_rows(speech.read(first, (_BLOCK - 1) * _HOP + _FFT) * gain)


def gain_of(rms: float) -> np.float32:
    """Factor that brings speech of that root mean square to the features' reference level."""
    return np.float32(_TARGET_RMS / max(rms, _RMS_FLOOR))


def clip_bins(frames: int, fps: Fraction) -> int:
    """Bins from 0 on that the windows of a clip's frames reach."""
    return window_start(frames - 1, fps) + BIN_COUNT


def clip_mel(samples: NDArray[np.float32], bins: int, rms: float) -> NDArray[np.float32]:
    """Mel rows (bins, 80) in [0, 1] of a short clip's samples in memory, silence following where they end."""
    padded = np.zeros(_LEAD + bins * _HOP, np.float32)
    inside = samples[: bins * _HOP]
    padded[_LEAD : _LEAD + len(inside)] = inside * gain_of(rms)
    return mel_rows(padded)


def clip_windows(mel: NDArray[np.floating], indices: Sequence[int], fps: Fraction) -> NDArray[np.float32]:
    """Windows (n, 80, 20) of frames from a clip's mel rows (m, 80), zeros outside them; as `MelWindows` has them."""
    starts = np.array([window_start(k, fps) for k in indices], np.int64)
    rows = starts[:, None] + np.arange(BIN_COUNT)
    inside = (rows >= 0) & (rows < len(mel))
    values = mel[np.where(inside, rows, 0)].astype(np.float32) * inside[..., None]
    return np.ascontiguousarray(values.transpose(0, 2, 1), np.float32)


def is_silent(window: NDArray[np.float32]) -> bool:
    """Whether a window (80, 20) holds no speech: nothing within about 35 dB of loud speech, as in room tone."""
    return float(window.max()) < _SILENCE


def mel_rows(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalised log-mel of 1 + (n - 1280) / 160 consecutive bins, (bins, 80) in [0, 1]."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FFT)[::_HOP]
    magnitude = np.abs(np.fft.rfft(frames * _analysis_window(), axis=1))
    decibel = 20 * np.log10(np.maximum(1e-5, magnitude @ filter_bank().T)) - 20
    return np.clip((decibel + 100) / 100, 0, 1).astype(np.float32)


@cache
def _analysis_window() -> NDArray[np.float64]:
    """Half the square root of a Hann window taken at half samples."""
    return 0.5 * np.sin(np.pi * (np.arange(_FFT) + 0.5) / _FFT)


@cache
def filter_bank() -> NDArray[np.float64]:
    """Triangles over the spectrum, (80, 641), of equal area, on Slaney's mel scale from 125 to 7,600 Hz.

    Number by number those of librosa, which takes a second to import and rounds to float32.
    """
    places = _hertz(np.linspace(_mel(_LOWEST_HERTZ), _mel(_HIGHEST_HERTZ), MEL_COUNT + 2))
    lower, middle, upper = places[:-2, None], places[1:-1, None], places[2:, None]
    spectrum = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)
    rising, falling = (spectrum - lower) / (middle - lower), (upper - spectrum) / (upper - middle)
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return (triangles * (2 / (upper - lower))).astype(np.float32).astype(np.float64)


# Slaney's Auditory Toolbox (1998): 3 mel for 200 Hz up to 1,000 Hz, above them 27 mel for each factor of 6.4.
_LINEAR_HERTZ, _KNEE_HERTZ, _KNEE_MEL, _LOG_STEP = 200 / 3, 1000.0, 15.0, np.log(6.4) / 27


def _mel(hertz: float) -> float:
    return hertz / _LINEAR_HERTZ if hertz < _KNEE_HERTZ else _KNEE_MEL + np.log(hertz / _KNEE_HERTZ) / _LOG_STEP


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _KNEE_HERTZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, _LINEAR_HERTZ * mel, above)
