"""A clip's sound as the mel rows that a shard keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.shards import FPS, mel_rows_needed
from model_server.pipeline.audio import SAMPLE_RATE
from model_server.pipeline.mel import mel_rows

_TARGET_RMS, _RMS_FLOOR = 0.1, 1e-4  # those of `pipeline.mel`
_HOP, _LEAD = 160, 1120  # row m covers samples [160 m - 1120, 160 m + 160)


def clip_rms(samples: NDArray[np.float32], frames: int) -> float:
    """Root mean square of a clip's 16 kHz sound from its first frame to its last."""
    spoken = samples[: frames * SAMPLE_RATE // FPS].astype(np.float64)
    return float(np.sqrt(np.mean(spoken**2))) if len(spoken) else 0.0


def clip_mel(samples: NDArray[np.float32], frames: int, rms: float) -> NDArray[np.float16]:
    """Mel rows (m, 80) in [0, 1] that the windows of `frames` frames reach.

    Args:
        samples: mono 16 kHz sound from the clip's first frame on; silence follows where it ends.
        frames: number of frames.
        rms: loudness that is brought to the features' reference level.
    """
    rows = mel_rows_needed(frames)
    padded = np.zeros(_LEAD + rows * _HOP, np.float32)
    inside = samples[: rows * _HOP]
    padded[_LEAD : _LEAD + len(inside)] = inside * np.float32(_TARGET_RMS / max(rms, _RMS_FLOOR))
    return mel_rows(padded).astype(np.float16)
