"""Whether the invisible pattern of `pipeline.compositing.presence_mark` is in a picture or movie.

The picture is looked at in many sizes. In each, its fine structure is folded into one tile, in which what repeats adds
up and what does not cancels out; the tile is compared with the pattern at all offsets at once (by the Fourier
transform). Pictures of one size add up over time, since the pattern stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.compositing.presence_mark import TILE, pattern
from model_server.pipeline.media.sandboxed import open_footage

# Pixels of the pattern to one that is compared: cells are then two pixels wide.
_COARSE = 4
# Pictures of a movie that are looked at, spread over it.
_LOOKED_AT = 12
_SIDE = TILE // _COARSE
# Sizes in which a picture may be shown, against that in which it was marked; neighbours differ by so little that the
# pattern of a whole picture stays in step.
SCALES: Sequence[float] = tuple(np.geomspace(0.25, 6, 318))
# Structure of less than five compared pixels, in units of what is usual within about three of them, cut where an edge
# begins: the noise of flat places counts as much as a contour.
_KERNEL, _NEAR, _FLAT, _EDGE = 5, 1.2, 0.5, 1.5
# Frequencies with less than this share of the strongest one are taken for rounding.
_FLOOR = 1e-3
FOUND = 6.0
"""Score from which on the pattern counts as found: of 1,000 pictures without it none came so far."""


@dataclass(frozen=True)
class Presence:
    """What was found.

    Attributes:
        score: how far the best fit stands out, in deviations.
        scale: size of the picture against that in which it was marked.
    """

    score: float
    scale: float

    @property
    def found(self) -> bool:
        """Whether the pattern is there."""
        return self.score > FOUND


def presence(pictures: Iterable[NDArray[np.uint8]], scales: Sequence[float] = SCALES) -> Presence:
    """Look for the pattern in pictures of one size, RGB, such as frames of a movie."""
    folded: NDArray[np.float64] | None = None
    for picture in pictures:
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
        seen = np.stack([_folded(luma, scale) for scale in scales])
        folded = seen if folded is None else folded + seen
    if folded is None:
        return Presence(0.0, 1.0)
    scores = [_score(one) for one in folded]
    best = int(np.argmax(scores))
    return Presence(scores[best], scales[best])


def look_into(path: Path) -> Presence:
    """Look for the pattern in a picture, or in some pictures of a movie; PoseDubError when it cannot be read."""
    footage = open_footage(path)
    count = len(footage.times)
    wanted = sorted({k * count // _LOOKED_AT for k in range(_LOOKED_AT)})
    return presence(picture for _, picture in footage.stored.iter_frames(wanted))


def _folded(luma: NDArray[np.float32], scale: float) -> NDArray[np.float64]:
    """Fine structure of a picture, as if it had been marked in this size, summed into one tile."""
    width, height = (max(8, round(side / scale / _COARSE)) for side in luma.shape[::-1])
    how = cv2.INTER_AREA if width < luma.shape[1] else cv2.INTER_CUBIC
    fine = _fine(cv2.resize(luma, (width, height), interpolation=how).astype(np.float32, copy=False))
    rows, columns = -height % _SIDE, -width % _SIDE
    whole = np.pad(fine, ((0, rows), (0, columns)))
    return whole.reshape(len(whole) // _SIDE, _SIDE, -1, _SIDE).sum((0, 2), dtype=np.float64)


def _fine(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """What of a picture is smaller than its surroundings, in like strength everywhere, so that no edge decides."""
    apart = small - cv2.medianBlur(small, _KERNEL)
    usual = cv2.GaussianBlur(np.abs(apart), (0, 0), _NEAR) + _FLAT
    return np.clip(apart / usual, -_EDGE, _EDGE)


def _score(tile: NDArray[np.float64]) -> float:
    """How far the best offset of the pattern stands out among all, by phase alone (Kuglin and Hines 1975)."""
    found = np.fft.rfft2(tile - tile.mean())
    size = np.abs(found)
    fits = np.fft.irfft2(found * _wanted() / (size + max(_FLOOR * float(size.max()), 1e-9)), tile.shape)
    return float(fits.max() / max(float(fits.std()), 1e-9))


@cache
def _wanted() -> NDArray[np.complex128]:
    """Conjugate transform of the pattern as it is compared."""
    small = cv2.resize(pattern(), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.conj(np.fft.rfft2(small))
