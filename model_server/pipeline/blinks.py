"""How far eyes are closed in the frames of a dub."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.lids import automatic
from model_server.pipeline.request import DubSpec


def closures(spec: DubSpec, frames: range, followed: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Closures of the lids (n,), 0 to 1, in some frames: what is asked for, what is seen, and blinks, the most of them.

    Args:
        followed: what the pose source shows, (n,); None for sources without eyes.
    """
    asked = np.array(spec.blink[frames.start : frames.stop] if len(spec.blink) > 1 else spec.blink, np.float32)
    closed = np.broadcast_to(asked, len(frames))
    if followed is not None:
        closed = np.maximum(closed, followed)
    if spec.blinks:
        closed = np.maximum(closed, automatic(spec.seed, frames, float(spec.fps)))
    return np.asarray(closed, np.float32)
