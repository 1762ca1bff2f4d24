"""A clip's sound as the mel rows that a shard keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server import features
from model_server.corpus.shards import FPS, mel_rows_needed
from model_server.features import SAMPLE_RATE


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
    return features.clip_mel(samples, mel_rows_needed(frames), rms).astype(np.float16)
