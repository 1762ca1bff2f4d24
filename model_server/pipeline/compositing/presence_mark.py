"""An invisible pattern in what networks drew, for pictures that lose what is written in their files.

Additive spread spectrum (Cox et al. 1997), with cells so large that video coding and scaling keep them, in a tile that
repeats, so that any part of a picture will do. It says one thing only: that networks drew here.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

VERSION = "presence mark 2"
"""Part of the keys of marked pictures: to be changed with the pattern."""

CELL, CELLS = 8, 16
"""Side of a cell, pixels, and cells along a tile's side. Smaller cells do not survive H.264, larger ones are seen."""
TILE = CELL * CELLS
_SEED = 20260802
# 42.3 dB: what is changed on average, of 255. Least and greatest share of it, in flat and in lively places, where
# the activity is the mean distance to the surroundings, of 255. More of it in lively places would be seen less, and
# found less where they are coded.
_STRENGTH = 1.95
_LEAST, _MOST, _LIVELY = 0.8, 1.6, 6.0
_SURROUNDINGS, _AROUND = 4.0, 8.0  # standard deviations in pixels


@cache
def pattern() -> NDArray[np.float32]:
    """The tile (128, 128), mean 0 and deviation 1; it goes on without a seam on all sides."""
    signs = np.array([-1.0, 1.0], np.float32).repeat(CELLS * CELLS // 2)
    cells = np.random.default_rng(_SEED).permutation(signs).reshape(CELLS, CELLS)
    around = cv2.resize(np.tile(cells, (3, 3)), (3 * TILE, 3 * TILE), interpolation=cv2.INTER_CUBIC)
    tile = around[TILE : 2 * TILE, TILE : 2 * TILE]
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def imprinted(picture: NDArray[np.uint8], left: int = 0, top: int = 0) -> NDArray[np.uint8]:
    """A picture, or a piece of one, with the pattern: RGB, or RGBA, whose transparent pixels stay as they are.

    Args:
        left, top: where the piece lies in the picture; the pattern is the picture's.
    """
    height, width = picture.shape[:2]
    if not height or not width:
        return picture
    rows, columns = (np.arange(first, first + count) % TILE for first, count in ((top, height), (left, width)))
    offset = pattern()[np.ix_(rows, columns)] * _share(picture[..., :3])
    offset *= _STRENGTH / max(float(np.sqrt(np.square(offset).mean())), 1e-6)
    marked = picture.copy()
    marked[..., :3] = np.clip(np.rint(picture[..., :3] + offset[..., None]), 0, 255)
    if picture.shape[2] == 4:
        marked[picture[..., 3] == 0] = picture[picture[..., 3] == 0]
    return marked


def _share(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much of the pattern each place bears without its being seen."""
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    apart = np.abs(luma - cv2.GaussianBlur(luma, (0, 0), _SURROUNDINGS))
    return np.clip(_LEAST + cv2.GaussianBlur(apart, (0, 0), _AROUND) / _LIVELY, _LEAST, _MOST).astype(np.float32)
