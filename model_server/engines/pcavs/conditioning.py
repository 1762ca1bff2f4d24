"""What decides a PC-AVS frame: the mel window around it, the gain of what is said in it, and its pose code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import Condition, Performance
from model_server.features import MelWindows, is_silent
from model_server.networks.pcavs.presets import LIP_SHAPE

# The dub's parameter that is the gain of the speech content, and its published value.
GAIN, PUBLISHED_GAIN = "mouth_strength", 1.2
PARAMETERS = (GAIN, "seed")
# Of weights that can close eyes, besides.
LID_PARAMETERS = ("blink", "blinking")
_LID_STEPS = 128


class Row(NamedTuple):
    """What a frame is drawn of.

    Attributes:
        window: log-mel (80, 20) in [0, 1].
        gain: of what is said in it.
        code: of the pose (12,).
        lids: how far they are closed, 0 to 1.
        lips: how they are shaped (4,), for weights that tell that, where lower faces are drawn; else all 0.
    """

    window: NDArray[np.float32]
    gain: float
    code: NDArray[np.float32]
    lids: float = 0.0
    lips: NDArray[np.float32] = np.zeros(LIP_SHAPE, np.float32)


class WindowConditioning:
    """Implements `Conditioning`: each frame is made of its own window and code.

    Args:
        lips: shapes (n, 4) that the speech's lips have in frames of a dub, where that is wanted.
    """

    def __init__(self, performance: Performance, lips: Callable[[range], NDArray[np.float32]] | None = None) -> None:
        if performance.poses is None:
            raise ValueError("PC-AVS makes no head motion of speech")
        self._windows = MelWindows(performance.speech, performance.fps)
        self._first, self._codes = performance.first, performance.poses
        self._lids = performance.lids
        self._gain = float(performance.parameters[GAIN])
        self._lips = lips

    def of(self, frames: range) -> Sequence[Condition]:
        """See `Conditioning.of`."""
        rows = slice(frames.start - self._first, frames.stop - self._first)
        lids = [None] * len(frames) if self._lids is None else np.round(self._lids[rows] * _LID_STEPS).tolist()
        said = zip(self._windows.windows(frames), self._codes[rows], lids, strict=True)
        conditions = [self._condition(*row) for row in said]
        if self._lips is None:
            return conditions
        return [_with_lips(*row) for row in zip(conditions, self._lips(frames), strict=True)]

    def _condition(self, window: NDArray[np.float32], code: NDArray[np.float32], lids: float | None) -> Condition:
        # Where nobody speaks, more than the published gain would only open the mouth for noise.
        gain = min(self._gain, PUBLISHED_GAIN) if is_silent(window) else self._gain
        key = window.tobytes() + code.tobytes() + repr(gain).encode()
        if lids is None:  # pictures of weights that do not know lids keep their keys
            return Condition(key, Row(window, gain, code))
        return Condition(key + f" {lids:.0f}".encode(), Row(window, gain, code, lids / _LID_STEPS))


def _with_lips(condition: Condition, lips: NDArray[np.float32]) -> Condition:
    return replace(condition, key=condition.key + lips.tobytes(), value=condition.value._replace(lips=lips))
