"""Scene cuts: where a movie's picture changes to another shot."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.media.partial import AnyPicture, sampled

Picture = NDArray[np.uint8]

_THUMB = (64, 36)
_BINS = 32
# Rows and columns of the shorter side that are looked at.
_SAMPLED = 180
# A cut lies this many times above what the pictures before it changed by, within these bounds: in real clips
# neighbours differ by up to 0.30, and pictures of different clips by 0.49 and more.
_RATIO = 4.0
_FLOOR, _CEILING = 0.32, 0.4
_MEMORY = 12
# Mean edge strength (Sobel, of 255) below which a picture is all but dark or flat: it shows no other edges.
_FAINT = 8.0
# Behind a flash the picture is again the one before it.
_FLASH = 0.4


class ShotDetector:
    """Finds cuts in pictures fed in order, with an adaptive threshold on colour and edge distances.

    Attributes:
        count: pictures fed so far.
        starts: positions of the pictures that begin a shot, the first one always 0. A flash of one picture is no
            shot: its position is taken back with the picture behind it.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self._seen: deque[_Looks] = deque(maxlen=2)
        self._usual: deque[float] = deque(maxlen=_MEMORY)
        self.count = 0

    def feed(self, rgb: AnyPicture) -> bool:
        """Look at the next picture, uint8 RGB of any size; True when it begins a shot."""
        looks, position = _Looks(rgb), self.count
        self.count += 1
        began = not self._seen or self._is_cut(looks, position)
        self._seen.append(looks)
        if began:
            self.starts.append(position)
        return began

    def _is_cut(self, looks: _Looks, position: int) -> bool:
        change = looks.distance(self._seen[-1])
        if self._flashed(looks, change, position):
            self.starts.pop()
            return False
        usual = float(np.mean(self._usual)) if self._usual else 0.0
        if change > min(max(_FLOOR, _RATIO * usual), _CEILING):
            return True
        self._usual.append(change)
        return False

    def _flashed(self, looks: _Looks, change: float, position: int) -> bool:
        """Whether the picture before was a flash: taken for a cut, and now all is as it was before it."""
        after_cut = len(self.starts) > 1 and self.starts[-1] == position - 1
        return after_cut and looks.distance(self._seen[0]) < _FLASH * change


class _Looks:
    """What a picture is compared by: colour histograms (Lab) and edges of a thumbnail."""

    def __init__(self, rgb: AnyPicture) -> None:
        step = max(min(rgb.shape[:2]) // _SAMPLED, 1)
        thumb = cv2.resize(sampled(rgb, step), _THUMB, interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(thumb, cv2.COLOR_RGB2LAB)
        bins = (lab // (256 // _BINS)).reshape(-1, 3).T
        self.colours = np.stack([np.bincount(channel, minlength=_BINS) for channel in bins]) / bins.shape[1]
        light = cv2.GaussianBlur(lab[..., 0].astype(np.float32), (0, 0), 1)
        self.edges = np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1))

    def distance(self, other: _Looks) -> float:
        """0 for the same picture, about 1 for pictures with nothing in common."""
        colour = 0.5 * np.abs(self.colours - other.colours).sum(axis=1).mean()
        strongest = np.maximum(self.edges, other.edges).sum()
        edge = np.abs(self.edges - other.edges).sum() / max(float(strongest), _FAINT * self.edges.size)
        return float(colour + edge) / 2
