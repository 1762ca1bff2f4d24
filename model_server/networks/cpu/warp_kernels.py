"""The loop that bends a portrait and lays what is painted over it, compiled by Numba."""

from __future__ import annotations

import numpy as np

from model_server.networks.cpu.compiler import compiled, compiled_part
from model_server.networks.cpu.kernels import Floats
from model_server.networks.cpu.simd import LANES, load, splat, store

LAYERS = 6  # numbers of a pixel of layers: x, y, the portrait's share, red, green, blue
# Of a portrait's pixel in memory, the last one of no meaning: two pixels beside each other fill the smallest vector.
COLOURS = 4


@compiled
def blend(layers: Floats, coarse: int, portrait: Floats, result: Floats) -> None:
    """Pictures of the portrait's size: layers enlarged bilinearly, the portrait taken where they say, and both mixed.

    Args:
        layers: of each pixel of pictures (n, coarse, coarse): x and y of the portrait's pixel from this one, in halves
            of the picture, the portrait's share in [0, 1], and a colour; flat, and a vector longer.
        portrait: (1 or n, h * w * 4 and a vector), colours of pixels.
        result: (n, h, w, 3).
    """
    # A row of layers is made between two of the coarse ones, then stretched. A pixel's layers are read and written as a
    # vector, whose surplus the next pixel writes anew: so arrays are a vector longer than their pixels.
    count, height, width, _ = result.shape
    row, wide = np.zeros((coarse + 1) * LAYERS + LANES, np.float32), np.empty(width * LAYERS + LANES, np.float32)
    columns, rows = _places(width, coarse), _places(height, coarse)
    flat = result.reshape(-1)
    for picture in range(count):
        source = portrait[picture if len(portrait) > 1 else 0]
        for y in range(height):
            upper, share = int(rows[0, y]), splat(rows[1, y])
            above = (picture * coarse + upper) * coarse * LAYERS
            below = (picture * coarse + min(upper + 1, coarse - 1)) * coarse * LAYERS
            for at in range(0, coarse * LAYERS, LANES):
                value = load(layers, above + at)  # vectors have no difference: times -1 and added, one instruction
                store(row, at, value + (load(layers, below + at) + value * splat(-1.0)) * share)
            for c in range(LAYERS):  # the pixel behind the last one
                row[coarse * LAYERS + c] = row[(coarse - 1) * LAYERS + c]
            for x in range(width):
                left = int(columns[0, x]) * LAYERS
                value = load(row, left)
                store(wide, x * LAYERS, value + (load(row, left + LAYERS) + value * splat(-1.0)) * splat(columns[1, x]))
            to = (picture * height + y) * width * 3
            _bend(wide, source, y, height, flat[to : to + width * 3])


@compiled_part
def _bend(row: Floats, portrait: Floats, y: int, height: int, result: Floats) -> None:
    """A row of pixels (3w,) of the layers (6w and a vector) of each.

    The portrait is read bilinearly; places beyond it are moved to its border.
    """
    width, corner = len(result) // 3, np.empty(LANES, np.float32)
    half_width, half_height, zero = np.float32(width / 2), np.float32(height / 2), np.float32(0)
    for x in range(width):
        at = x * LAYERS
        place_x = min(max(np.float32(x) + row[at] * half_width, zero), np.float32(width - 1))
        place_y = min(max(np.float32(y) + row[at + 1] * half_height, zero), np.float32(height - 1))
        first_x, first_y = min(int(place_x), width - 2), min(int(place_y), height - 2)
        across, share = place_x - np.float32(first_x), row[at + 2]
        # A vector holds a pixel and the one to its right.
        corners = (first_y * width + first_x) * COLOURS
        value = load(portrait, corners)
        down = splat(place_y - np.float32(first_y))
        store(corner, 0, value + (load(portrait, corners + width * COLOURS) + value * splat(-1.0)) * down)
        for c in range(3):
            taken, painted = corner[c] + (corner[COLOURS + c] - corner[c]) * across, row[at + 3 + c]
            result[3 * x + c] = painted + (taken - painted) * share


@compiled_part
def _places(size: int, coarse: int) -> Floats:
    """Where pixels of `size` lie among `coarse` ones: (2, size), the one before and the share of the one behind."""
    made = np.empty((2, size), np.float32)
    for place in range(size):
        at = max((np.float32(place) + np.float32(0.5)) * np.float32(coarse / size) - np.float32(0.5), np.float32(0))
        made[0, place] = np.floor(at)
        made[1, place] = at - np.floor(at)
    return made
