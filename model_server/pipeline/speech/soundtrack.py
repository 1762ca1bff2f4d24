"""The sound beneath a movie: what was dubbed to, in stereo, on the same time axis."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.speech.downmix import Downmix, speaker_gains
from model_server.pipeline.speech.resampling import resampled
from model_server.pipeline.speech.sound import SoundBlock, SoundReader

AUDIO_RATE = 48000

Samples = NDArray[np.float32]


def soundtrack(path: Path, track: int, begin: Fraction, end: Fraction) -> Iterator[av.AudioFrame]:
    """A sound track between two seconds of its file, in planar float stereo at AUDIO_RATE.

    Args:
        track: number as in `SoundReader`; 0 chooses.
        begin: second of the file that gets timestamp 0; silence precedes the file when negative.
    """
    first, stop = round(begin * AUDIO_RATE), round(end * AUDIO_RATE)
    at = 0
    for samples in resampled(_stereo(SoundReader(path, track)), AUDIO_RATE):
        wanted = samples[max(0, first - at) : max(0, stop - at)]
        if len(wanted):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wanted.T), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = AUDIO_RATE, max(0, at - first)
            frame.time_base = Fraction(1, AUDIO_RATE)
            yield frame
        at += len(samples)
        if at >= stop:
            return


def _stereo(reader: SoundReader) -> Iterator[tuple[Samples, int]]:
    """Blocks (n, 2) with their rates."""
    mix: Downmix | None = None
    for block in reader.blocks():
        mix = mix if mix and mix.rate == block.rate else Downmix(block.rate)
        yield np.ascontiguousarray(_two_channels(block, mix).T, np.float32), block.rate


def _two_channels(block: SoundBlock, mix: Downmix) -> NDArray[np.floating]:
    """(2, n): the channels by their names, or the same mix on both speakers where they have none."""
    if len(block.samples) == 2:
        return block.samples
    matrix = speaker_gains(block.layout)
    if len(block.samples) == 1 or not matrix.any(axis=1).all():
        return np.tile(mix.mono(block.samples), (2, 1))
    return matrix / matrix.sum(axis=1).max() @ block.samples
