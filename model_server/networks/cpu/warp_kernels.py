"""The loops that bend pictures and lay what is painted over them, compiled by Numba."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_server.networks.cpu.compiler import compiled, compiled_part
from model_server.networks.cpu.kernels import Floats
from model_server.networks.cpu.simd import LANES, load, splat, store

LAYERS = 6  # numbers of a pixel of layers: x, y, the portrait's share, red, green, blue
# Of a portrait's pixel in memory, the last one of no meaning: two pixels beside each other fill the smallest vector.
COLOURS = 4
# Of a pixel of a lower face's layers: for each reference x, y and its share, then these: the references' share, red,
# green, blue, and how much of the face nothing covers.
OF_REFERENCE, OF_FACE = 3, 5
Bytes = NDArray[np.uint8]
# Neighbours fetched from places that lie further apart, in halves of the picture, show two surfaces: the nearer one's
# edge. Between them nothing is fetched, which would be a third: their colours are mixed.
FOLD = 0.04
# What takes less than this part of a pixel is left out, which changes none by a step of 8 bits.
_UNSEEN = np.float32(1 / 1024)


@compiled
def blend(layers: Floats, coarse: int, portrait: Floats, margin: int, result: Floats) -> None:
    """Pictures of the portrait's size, less a margin on each side.

    Layers are enlarged bilinearly, the portrait is taken where they say, and both are mixed.

    Args:
        layers: of each pixel of pictures (n, coarse, coarse): x and y of the portrait's pixel from this one, in halves
            of the picture, the portrait's share in [0, 1], and a colour; flat, and a vector longer.
        portrait: (1 or n, (h + 2 margin) * (w + 2 margin) * 4 and a vector), colours of pixels.
        result: (n, h, w, 3).
    """
    # A row of layers is made between two of the coarse ones, then stretched. A pixel's layers are read and written as a
    # vector, whose surplus the next pixel writes anew: so arrays are a vector longer than their pixels.
    count, height, width, _ = result.shape
    row, wide = np.zeros((coarse + 1) * LAYERS + LANES, np.float32), np.empty(width * LAYERS + LANES, np.float32)
    columns, rows = _places(width, coarse), _places(height, coarse)
    flat = result.reshape(-1)
    folds = np.zeros((coarse, coarse), np.bool_)
    for picture in range(count):
        source = portrait[picture if len(portrait) > 1 else 0]
        _mark_folds(layers, picture * coarse * coarse * LAYERS, coarse, folds)
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
            _bend(wide, source, y, height, margin, flat[to : to + width * 3])
            lines = (above, below, rows[1, y])
            _mix_folds(wide, layers, lines, columns, folds[upper], source, y, height, margin, flat[to : to + width * 3])


@compiled_part
def _bend(row: Floats, portrait: Floats, y: int, height: int, margin: int, result: Floats) -> None:
    """A row of pixels (3w,) of the layers (6w and a vector) of each.

    The portrait is read bilinearly; places beyond it are moved to its border.
    """
    width, corner = len(result) // 3, np.empty(LANES, np.float32)
    half_width, half_height, zero = np.float32(width / 2), np.float32(height / 2), np.float32(0)
    across_all, down_all = width + 2 * margin, height + 2 * margin
    for x in range(width):
        at = x * LAYERS
        place_x = min(max(np.float32(x + margin) + row[at] * half_width, zero), np.float32(across_all - 1))
        place_y = min(max(np.float32(y + margin) + row[at + 1] * half_height, zero), np.float32(down_all - 1))
        first_x, first_y = min(int(place_x), across_all - 2), min(int(place_y), down_all - 2)
        across, share = place_x - np.float32(first_x), row[at + 2]
        # A vector holds a pixel and the one to its right.
        corners = (first_y * across_all + first_x) * COLOURS
        value = load(portrait, corners)
        down = splat(place_y - np.float32(first_y))
        store(corner, 0, value + (load(portrait, corners + across_all * COLOURS) + value * splat(-1.0)) * down)
        for c in range(3):
            taken, painted = corner[c] + (corner[COLOURS + c] - corner[c]) * across, row[at + 3 + c]
            result[3 * x + c] = painted + (taken - painted) * share


@compiled_part
def _mark_folds(layers: Floats, first: int, coarse: int, folds: NDArray[np.bool_]) -> None:
    """Whether a pixel of layers that begin at `first`, that to its right and both below show more than one surface."""
    for y in range(coarse):
        for x in range(coarse):
            right, below = min(x + 1, coarse - 1) - x, (min(y + 1, coarse - 1) - y) * coarse
            at, apart = first + (y * coarse + x) * LAYERS, np.float32(0)
            for other in (right, below, right + below):
                for c in range(2):
                    apart = max(apart, abs(layers[at + other * LAYERS + c] - layers[at + c]))
            folds[y, x] = apart > np.float32(FOLD)


@compiled_part
def _mix_folds(
    row: Floats,
    layers: Floats,
    lines: tuple[int, int, np.float32],
    columns: Floats,
    folds: NDArray[np.bool_],
    portrait: Floats,
    y: int,
    height: int,
    margin: int,
    result: Floats,
) -> None:
    """Draw the pixels of a row anew that lie between two surfaces: both are fetched and mixed.

    Args:
        lines: where the layers above and below begin, and the share of those below.
        columns: see `_places`.
        folds: (coarse,) of the row of layers above.
    """
    width, coarse = len(result) // 3, len(folds)
    for x in range(width):
        left, across = int(columns[0, x]), columns[1, x]
        if not folds[left]:
            continue
        red, green, blue = np.float32(0), np.float32(0), np.float32(0)
        for line, down in ((lines[0], np.float32(1) - lines[2]), (lines[1], lines[2])):
            for column, beside in ((left, np.float32(1) - across), (min(left + 1, coarse - 1), across)):
                at = line + column * LAYERS
                shown = _fetched(portrait, x, y, layers[at], layers[at + 1], width, height, margin)
                weight = down * beside
                red, green, blue = red + weight * shown[0], green + weight * shown[1], blue + weight * shown[2]
        share = row[x * LAYERS + 2]
        for c, taken in enumerate((red, green, blue)):
            painted = row[x * LAYERS + 3 + c]
            result[3 * x + c] = painted + (taken - painted) * share


@compiled_part
def _fetched(
    portrait: Floats, x: int, y: int, to_x: np.float32, to_y: np.float32, width: int, height: int, margin: int
) -> tuple[np.float32, np.float32, np.float32]:
    """The portrait, read bilinearly so far from a pixel."""
    across_all, down_all, zero = width + 2 * margin, height + 2 * margin, np.float32(0)
    place_x = min(max(np.float32(x + margin) + to_x * np.float32(width / 2), zero), np.float32(across_all - 1))
    place_y = min(max(np.float32(y + margin) + to_y * np.float32(height / 2), zero), np.float32(down_all - 1))
    left, top = min(int(place_x), across_all - 2), min(int(place_y), down_all - 2)
    at, across, down = (top * across_all + left) * COLOURS, place_x - np.float32(left), place_y - np.float32(top)
    below = at + across_all * COLOURS
    return (
        _mean_of_four(portrait, at, below, across, down),
        _mean_of_four(portrait, at + 1, below + 1, across, down),
        _mean_of_four(portrait, at + 2, below + 2, across, down),
    )


@compiled_part
def _mean_of_four(portrait: Floats, at: int, below: int, across: np.float32, down: np.float32) -> np.float32:
    upper = portrait[at] + (portrait[at + COLOURS] - portrait[at]) * across
    return upper + (portrait[below] + (portrait[below + COLOURS] - portrait[below]) * across - upper) * down


@compiled
def lower_face(layers: Floats, references: Bytes, drawn: Bytes, result: Bytes) -> None:
    """A picture of the references' size: layers enlarged bilinearly, references bent and mixed as they say, then paint.

    Args:
        layers: pictures (3 r + 5, coarse, coarse): for each reference x and y of its pixel from this one, in halves of
            the picture, and its share in [0, 1]; and what `OF_FACE` says.
        references: (r, h, w, 3), w = h.
        drawn: (h, w), not 0 where the picture is wanted.
        result: RGBA (h, w, 4); alpha is how much nothing covers. All 0 where it is not wanted.
    """
    count, coarse, _ = layers.shape
    height, width, _ = result.shape
    row = np.empty((count, coarse + 1), np.float32)
    columns, rows = _places(width, coarse), _places(height, coarse)
    for y in range(height):
        upper, down = int(rows[0, y]), rows[1, y]
        lower = min(upper + 1, coarse - 1)
        for c in range(count):
            for x in range(coarse):
                row[c, x] = layers[c, upper, x] + (layers[c, lower, x] - layers[c, upper, x]) * down
            row[c, coarse] = row[c, coarse - 1]
        for x in range(width):
            if drawn[y, x]:
                _face_pixel(row, int(columns[0, x]), columns[1, x], references, x, y, result)
            else:
                result[y, x] = 0


@compiled_part
def _face_pixel(row: Floats, left: int, across: np.float32, references: Bytes, x: int, y: int, result: Bytes) -> None:
    """The pixel at x, y, whose layers lie on a row (3 r + 5, coarse + 1), so far `across` behind the one at `left`."""
    first = OF_REFERENCE * len(references)
    mask = _on_row(row, first, left, across)
    red, green, blue = np.float32(0), np.float32(0), np.float32(0)
    for n in range(len(references)):
        share = _on_row(row, OF_REFERENCE * n + 2, left, across)
        if share * mask >= _UNSEEN:
            to_x = _on_row(row, OF_REFERENCE * n, left, across)
            to_y = _on_row(row, OF_REFERENCE * n + 1, left, across)
            bent = _bent(references, n, np.float32(x), np.float32(y), to_x, to_y)
            red, green, blue = red + share * bent[0], green + share * bent[1], blue + share * bent[2]
    half = np.float32(127.5)
    for c, bent_one in enumerate((red, green, blue)):
        paint = _on_row(row, first + 1 + c, left, across) * half + half
        result[y, x, c] = _byte(paint + (bent_one - paint) * mask)
    result[y, x, 3] = _byte(_on_row(row, first + 4, left, across) * np.float32(255))


@compiled_part
def _on_row(row: Floats, layer: int, left: int, across: np.float32) -> np.float32:
    return row[layer, left] + (row[layer, left + 1] - row[layer, left]) * across


@compiled_part
def _bent(
    pictures: Bytes, n: int, x: np.float32, y: np.float32, to_x: np.float32, to_y: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """One of pictures (r, h, w, 3) read bilinearly so far from a pixel, in halves of it; its border goes on beyond."""
    _, height, width, _ = pictures.shape
    place_x = min(max(x + to_x * np.float32(width / 2), np.float32(0)), np.float32(width - 1))
    place_y = min(max(y + to_y * np.float32(height / 2), np.float32(0)), np.float32(height - 1))
    # Unsigned, or each of the twelve numbers would be looked for from the end, too.
    left, top = min(np.uintp(place_x), np.uintp(width - 2)), min(np.uintp(place_y), np.uintp(height - 2))
    share = place_x - np.float32(left), place_y - np.float32(top)
    red, green, blue = np.uintp(0), np.uintp(1), np.uintp(2)
    one = np.uintp(n)
    return (
        _between(pictures, one, top, left, red, share),
        _between(pictures, one, top, left, green, share),
        _between(pictures, one, top, left, blue, share),
    )


@compiled_part
def _between(
    pictures: Bytes, n: np.uintp, top: np.uintp, left: np.uintp, channel: np.uintp, share: tuple[np.float32, np.float32]
) -> np.float32:
    """A picture read bilinearly between four pixels, so far across and down from the first."""
    lower, right = top + np.uintp(1), left + np.uintp(1)
    a, b = np.float32(pictures[n, top, left, channel]), np.float32(pictures[n, top, right, channel])
    c, d = np.float32(pictures[n, lower, left, channel]), np.float32(pictures[n, lower, right, channel])
    above = a + (b - a) * share[0]
    return above + (c + (d - c) * share[0] - above) * share[1]


@compiled_part
def _byte(value: np.float32) -> np.uint8:
    return np.uint8(min(max(value + np.float32(0.5), np.float32(0)), np.float32(255)))


@compiled_part
def _places(size: int, coarse: int) -> Floats:
    """Where pixels of `size` lie among `coarse` ones: (2, size), the one before and the share of the one behind."""
    made = np.empty((2, size), np.float32)
    for place in range(size):
        at = max((np.float32(place) + np.float32(0.5)) * np.float32(coarse / size) - np.float32(0.5), np.float32(0))
        made[0, place] = np.floor(at)
        made[1, place] = at - np.floor(at)
    return made
