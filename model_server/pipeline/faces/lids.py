"""How far lids are closed, read off the outlines of the eyes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

# iBUG points of both eyes: corners, then two of the upper lid and those under them.
_CORNERS = ((36, 39), (42, 45))
_LIDS = (((37, 41), (38, 40)), ((43, 47), (44, 46)))
# Height over width of an open eye where nothing better is known, and of a closed one as part of the open one's: what
# the face mesh finds on rendered people whose lids are known (0.63 to 0.81) and in blinks of footage. It sees little of
# them, so what is read off it is an estimate.
OPEN, SHUT = 0.28, 0.68
# Of a clip's frames, the part that has its eyes less open than what is called open.
_OPEN_SHARE = 0.8
# Blinks that come by themselves: seconds before the first one and between two, and how lids close and open in one.
_FIRST, _BETWEEN = (0.8, 2.5), (2.0, 4.0)
_BLINK_SECONDS, _BLINK_CLOSURE = (0.0, 0.08, 0.13, 0.2, 0.32), (0.0, 0.95, 1.0, 0.6, 0.0)
_BLINKS = 5  # number of their stream of chance
# What the mesh's unrest reads as a little closed is open.
_REST = 0.35


def eye_ratio(landmarks: Floats) -> NDArray[np.float32]:
    """Height over width of the eyes, both together, (n,), of iBUG points (n, 68, 2)."""
    width = sum(_distance(landmarks, a, b) for a, b in _CORNERS)
    height = sum(_distance(landmarks, a, b) for eye in _LIDS for a, b in eye) / 2
    return np.asarray(height / np.maximum(width, 1e-6), np.float32)


def open_ratio(ratios: Floats) -> float:
    """The ratio that open eyes have in a clip, by the ratios (n,) of its frames; NaN where no face was found."""
    known = ratios[np.isfinite(ratios)]
    return float(np.quantile(known, _OPEN_SHARE)) if len(known) else OPEN


def closure(ratios: Floats, opened: float) -> NDArray[np.float32]:
    """Closure of the lids (n,) from 0, open, to 1, of ratios (n,); open where none is known.

    Args:
        ratios: as `eye_ratio` gives them.
        opened: the ratio of this person's open eyes.
    """
    shut = SHUT * opened
    closed = np.clip((opened - np.nan_to_num(ratios, nan=opened)) / max(opened - shut, 1e-6), 0, 1)
    return np.asarray(np.clip((closed - _REST) / (1 - _REST), 0, 1), np.float32)


def automatic(seed: int, frames: range, fps: float) -> NDArray[np.float32]:
    """Closures (n,) of blinks that come by themselves, the same for a frame whatever frames are asked for.

    Args:
        seed: of their times.
        fps: frames per second.
    """
    moments = np.arange(frames.start, frames.stop) / fps
    closed = np.zeros(len(moments), np.float32)
    for start in _blink_times(seed, frames.stop / fps):
        closed = np.maximum(closed, np.interp(moments - start, _BLINK_SECONDS, _BLINK_CLOSURE, 0, 0))
    return np.asarray(closed, np.float32)


def _blink_times(seed: int, end: float) -> list[float]:
    """Seconds at which blinks begin, before `end`."""
    rng = np.random.default_rng([seed, _BLINKS])
    times = [rng.uniform(*_FIRST)]
    while times[-1] < end:
        times.append(times[-1] + rng.uniform(*_BETWEEN))
    return times[:-1]


def _distance(landmarks: Floats, one: int, other: int) -> Floats:
    return np.linalg.norm(landmarks[:, one] - landmarks[:, other], axis=1)
