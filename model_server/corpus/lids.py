"""How far the lids are closed in a clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.shards import Clip
from model_server.pipeline.faces.lids import closure, eye_ratio, open_ratio


def lids_of(clip: Clip) -> NDArray[np.float32] | None:
    """Exact closures of the lids (n,) where they are known, else those that the landmarks tell; None without them."""
    if clip.lids is not None or clip.landmarks is None:
        return clip.lids
    ratios = eye_ratio(clip.landmarks)
    return closure(ratios, open_ratio(ratios))
