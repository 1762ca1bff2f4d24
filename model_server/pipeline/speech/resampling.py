"""Changes of sample rate in a stream of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def resampled(blocks: Iterable[tuple[Samples, int]], rate: int) -> Iterator[Samples]:
    """Blocks, each (n,) or (n, channels) with its own rate, as one stream at `rate` samples per second."""
    resampler: _Resampler | None = None
    for samples, source in blocks:
        if resampler is None or resampler.source != source:
            if resampler is not None:
                yield resampler.rest()
            resampler = _Resampler(source, rate, samples.shape[1:])
        yield resampler.more(samples)
    if resampler is not None:
        yield resampler.rest()


class _Resampler:
    """From one rate to another, block by block."""

    def __init__(self, source: int, target: int, shape: tuple[int, ...]) -> None:
        self.source = source
        self._nothing = np.zeros((0, *shape), np.float32)
        channels = shape[0] if shape else 1
        same = source == target
        self._soxr = None if same else soxr.ResampleStream(source, target, channels, dtype="float32", quality="HQ")

    def more(self, samples: Samples) -> Samples:
        """What a block makes ready."""
        return samples if self._soxr is None else self._soxr.resample_chunk(samples)

    def rest(self) -> Samples:
        """What is left at the end."""
        return self._nothing if self._soxr is None else self._soxr.resample_chunk(self._nothing, last=True)
