"""The loops around the products of minimal filtering, compiled by Numba.

All arrays are float32 and contiguous: pictures (n, h, w, c), data and products (tiles, points, c) with c a multiple of
`LANES`. Points are pairs (row, column) of the points of one direction. A call works on a strip of tiles: the first
picture, how many, the first row of tiles in each, and how many; data and products hold them in this order.

Places in arrays are elements of the flat array (`at` where is read, `to` where is written), since Numba compiles slices
slowly. The innermost loop runs over vectors of channels: these lie beside each other in memory, and a tile of vectors
fits into the processor's registers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model_server.networks.cpu.compiler import compiled, compiled_part
from model_server.networks.cpu.simd import (
    LANES,
    both_ways,
    finished,
    load,
    reader,
    reader_of_two,
    rectified,
    scaled,
    splat,
    writer,
)
from model_server.networks.cpu.toom_cook import TILE, edge_pairs, filtering, inner_pairs

Floats = NDArray[np.float32]
# On the way in: scales and shifts (1 or n, channels), no shifts where there is no ReLU, and pixels that become zero.
Taken = tuple[Floats, Floats | None, Floats]
# On the way out: times gains (n, channels), plus bias (channels,), plus noise (h, w), a leaky ReLU of that slope.
Finish = tuple[Floats, Floats, Floats, float]
Strip = tuple[int, int, int, int]

# Filterings of a 3-tap kernel, and of the two taps that each parity has of a transposed one of stride two.
_SAME, _HALF = filtering(3), filtering(2)
# Pixels, and points, of a tile in one direction: 6 and 5 for 4 results.
_REACH, _UP_REACH = len(_SAME.data), len(_HALF.data)
# Results of a tile of a convolution that doubles the size, in one direction: `TILE` of either parity.
_UP_TILE = 2 * TILE
# The filter [1, 3, 3, 1] / 4 behind doubling, which keeps brightness: two pixels of five in a line.
_BLUR = np.array([[1, 3, 3, 1, 0], [0, 1, 3, 3, 1]]) / 4
# What a strip's unsmoothed pixels need around them. The filter sees one pixel before and two behind; of rows, those
# of the strip before are kept until its last two, which see this strip, can be smoothed.
_ROWS_ABOVE, _ROWS_BELOW = 3, 2
_COLUMNS_LEFT, _COLUMNS_RIGHT = 1, 2


def unsmoothed_shape(tiles_down: int, tiles_across: int) -> tuple[int, int]:
    """Rows and columns of pixels that `out_of_half_products` needs for a strip of one picture before smoothing."""
    return _ROWS_ABOVE + _UP_TILE * tiles_down + _ROWS_BELOW, _COLUMNS_LEFT + _UP_TILE * tiles_across + _COLUMNS_RIGHT


def _square(size: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(size) for column in range(size)]


def _line(size: int) -> list[tuple[int, int]]:
    return [(row, 0) for row in range(size)]


# Numbers in names count vectors: 6 and 5 square ones of pixels, 36 of points, 4 and 2 square ones of results.
_pixels_6, _pixels_5 = reader(_square(_REACH)), reader(_square(_UP_REACH))
_products_36, _write_36 = reader(_line(_REACH**2)), writer(_line(_REACH**2))
_EDGE, _INNER = edge_pairs(_UP_REACH), inner_pairs(_UP_REACH)
_write_edge, _write_inner = (writer(_line(len(some)), [y * _UP_REACH + x for y, x in some]) for some in (_EDGE, _INNER))
# Products of an edge pair serve even rows and columns and one other parity, of an inner pair all four.
EDGE_PARTS, INNER_PARTS = 2, 4
_write_4, _write_2 = writer(_square(TILE)), writer(_square(2))
_data_6, _data_5 = both_ways(_SAME.data, _SAME.data), both_ways(_HALF.data, _HALF.data)
_result_6 = both_ways(_SAME.result, _SAME.result)
_blurred = both_ways(_BLUR, _BLUR)


def _part_reader(odd_row: bool, odd_column: bool) -> Callable:
    """Reads the products of one parity of rows and columns, in the order of rows and columns.

    Each point's products with its kernels lie behind each other: number * parts + part.
    """
    pairs = [(y, x) for y in range(odd_row, _UP_REACH) for x in range(odd_column, _UP_REACH)]
    other, part = odd_row or odd_column, 2 * odd_row + odd_column
    at = {pair: (False, n * EDGE_PARTS + other) for n, pair in enumerate(_EDGE)}
    at |= {pair: (True, n * INNER_PARTS + part) for n, pair in enumerate(_INNER)}
    return reader_of_two([at[pair] for pair in pairs])


def _part_result(odd_row: bool, odd_column: bool) -> Callable:
    """Makes a parity's 4x4 results of its products; those at the point 0, of one tap only, an odd direction lacks."""
    return both_ways(_HALF.result[:, int(odd_row) :], _HALF.result[:, int(odd_column) :])


_PARITIES = [(False, False), (False, True), (True, False), (True, True)]
_even_even, _even_odd, _odd_even, _odd_odd = (_part_reader(*parity) for parity in _PARITIES)
_result_ee, _result_eo, _result_oe, _result_oo = (_part_result(*parity) for parity in _PARITIES)


# Loops instead of slices: Numba takes ten times as long to compile those.
@compiled_part
def _copy(source: Floats, at: int, result: Floats, to: int, count: int) -> None:
    for n in range(count):
        result[to + n] = source[at + n]


@compiled_part
def _clear(result: Floats, start: int, end: int) -> None:
    for n in range(start, end):
        result[n] = 0


@compiled_part
def _around(x: Floats, top: int, left: int, reach: int, outside: Floats, scratch: Floats) -> tuple[Floats, int, int]:
    """Where the tile at (top, left) of `x` is to be read: array, first element, step of a row.

    A tile that reaches beyond the picture is copied, with pixels `outside` there.
    """
    height, width, channels = x.shape
    flat = x.reshape(-1)
    if top >= 0 and left >= 0 and top + reach <= height and left + reach <= width:
        return flat, (top * width + left) * channels, width * channels
    for pixel in range(reach**2):
        _copy(outside, 0, scratch, pixel * channels, channels)
    first, end = max(left, 0), min(left + reach, width)
    for row in range(max(top, 0), min(top + reach, height)):
        to, source = ((row - top) * reach + first - left) * channels, (row * width + first) * channels
        _copy(flat, source, scratch, to, (end - first) * channels)
    return scratch, 0, reach * channels


@compiled
def into_products(
    x: Floats, scales: Floats, shifts: Floats | None, outside: Floats, strip: Strip, data: Floats
) -> None:
    """Tiles of `x * scales`, or of `relu(x * scales + shifts)`, in the space of products: (tiles, 36, c).

    A tile begins a pixel above and left of its results, where the kernel's first tap lies.
    """
    first, count, row, rows = strip
    _, _, width, channels = x.shape
    across, to = -(-width // TILE), 0
    scratch = np.empty(_REACH**2 * channels, np.float32)
    for picture in range(first, first + count):
        which = picture if len(scales) > 1 else 0
        for tile in range(rows * across):
            top, left = TILE * (row + tile // across) - 1, TILE * (tile % across) - 1
            source, at, step = _around(x[picture], top, left, _REACH, outside[which], scratch)
            for c in range(0, channels, LANES):
                pixels = _pixels_6(source, at + c, step, channels)
                if shifts is None:
                    taken_in = scaled(pixels, load(scales, which * channels + c))
                else:
                    taken_in = rectified(pixels, load(scales, which * channels + c), load(shifts, which * channels + c))
                _write_36(data, to + c, channels, 0, _data_6(taken_in))
            to += _REACH**2 * channels


@compiled
def into_half_products(x: Floats, scales: Floats, outside: Floats, strip: Strip, edge: Floats, inner: Floats) -> None:
    """As `into_products`, for convolutions that double the size: 9 edge and 16 inner points.

    The 25 points of a tile go to the two arrays since edge points meet fewer kernels than inner ones.
    """
    first, count, row, rows = strip
    _, _, width, channels = x.shape
    across, to_edge, to_inner = -(-width // TILE), 0, 0
    scratch = np.empty(_UP_REACH**2 * channels, np.float32)
    for picture in range(first, first + count):
        for tile in range(rows * across):
            top, left = TILE * (row + tile // across) - 1, TILE * (tile % across) - 1
            source, at, step = _around(x[picture], top, left, _UP_REACH, outside[picture], scratch)
            for c in range(0, channels, LANES):
                pixels = _pixels_5(source, at + c, step, channels)
                made = _data_5(scaled(pixels, load(scales, picture * channels + c)))
                _write_edge(edge, to_edge + c, channels, 0, made)
                _write_inner(inner, to_inner + c, channels, 0, made)
            to_edge += edge.shape[1] * channels
            to_inner += inner.shape[1] * channels


@compiled
def out_of_products(products: Floats, strip: Strip, finish: Finish | None, result: Floats) -> None:
    """Results (n, h, w, c) of products (tiles, 36, c), finished; h and w in whole tiles."""
    first, count, row, rows = strip
    _, height, width, channels = result.shape
    across, at = width // TILE, 0
    for picture in range(first, first + count):
        for tile in range(rows * across):
            pixel = TILE * (row + tile // across) * width + TILE * (tile % across)
            to = (picture * height * width + pixel) * channels
            for c in range(0, channels, LANES):
                made = _result_6(_products_36(products, at + c, channels, 0))
                if finish is not None:
                    gains, bias, noise, slope = finish
                    gain = load(gains, picture * channels + c)
                    made = finished(made, gain, load(bias, c), splat(slope), noise, pixel, width)
                _write_4(result, to + c, width * channels, channels, made)
            at += _REACH**2 * channels


@compiled
def out_of_half_products(
    products: tuple[Floats, Floats], strip: Strip, last: tuple[Floats, Floats], rows: Floats, finish: Finish,
    result: Floats,
) -> None:  # fmt: skip
    """Results of edge and inner products, smoothed and finished.

    Args:
        products: (tiles, edge points * `EDGE_PARTS`, c) and (tiles, inner points * `INNER_PARTS`, c).
        last: products of each picture's last row and column of pixels with the kernel's last row and column
            (n, w or h, 3c). Only where tiles end with the picture; else without pixels.
        rows: (*`unsmoothed_shape`, c), where a strip's pixels lie before they are smoothed. A picture's strips come in
            order, with the same `rows`.
        finish: of the smoothed pixels.
        result: (n, 2h, 2w, c).
    """
    first, count, row, tiles_down = strip
    _, height, width, channels = result.shape
    size = tiles_down * ((rows.shape[1] - _COLUMNS_LEFT - _COLUMNS_RIGHT) // _UP_TILE)
    top, bottom = _UP_TILE * row, min(_UP_TILE * (row + tiles_down), height)
    ends = bottom == height
    for picture in range(first, first + count):
        _begin_rows(rows, row == 0, _UP_TILE * tiles_down)
        _untransformed(products, (picture - first) * size, size, rows)
        _end_rows(last[1][picture], rows, top, bottom - top + ends, width)
        if ends:
            _add_last_rows(last[0][picture], rows, _ROWS_ABOVE + bottom - top, width)
        # Two rows of the strip before could not be smoothed without this one, nor can two of this one yet.
        start, end = max(top - 2, 0), bottom if ends else bottom - 2
        _smooth(rows[start - top + 2 :], picture, start, end, finish, result)


@compiled_part
def _begin_rows(rows: Floats, anew: bool, made: int) -> None:
    """Put the last of the `made` rows of the strip before above this one, zeros on top of a picture and left of it."""
    flat, line, channels = rows.reshape(-1), rows.shape[1] * rows.shape[2], rows.shape[2]
    if anew:
        _clear(flat, 0, _ROWS_ABOVE * line)
    else:
        _copy(flat, made * line, flat, 0, _ROWS_ABOVE * line)
    for y in range(len(rows)):
        _clear(flat, y * line, y * line + _COLUMNS_LEFT * channels)


@compiled_part
def _untransformed(products: tuple[Floats, Floats], start: int, count: int, rows: Floats) -> None:
    """8x8 pixels of each tile into `rows`, behind what lies above and left of the strip."""
    edge, inner = products
    _, width, channels = rows.shape
    across, step = (width - _COLUMNS_LEFT - _COLUMNS_RIGHT) // _UP_TILE, width * channels
    for tile in range(count):
        y, x = _ROWS_ABOVE + _UP_TILE * (tile // across), _COLUMNS_LEFT + _UP_TILE * (tile % across)
        corner = (y * width + x) * channels
        at_edge = (start + tile) * edge.shape[1] * edge.shape[2]
        at_inner = (start + tile) * inner.shape[1] * inner.shape[2]
        for c in range(0, channels, LANES):
            one, other, to = at_edge + c, at_inner + c, corner + c
            # The four parities interleave: each writes every other row and column.
            ee = _result_ee(_even_even(edge, one, inner, other, channels))
            _write_4(rows, to, 2 * step, 2 * channels, ee)
            eo = _result_eo(_even_odd(edge, one, inner, other, channels))
            _write_4(rows, to + channels, 2 * step, 2 * channels, eo)
            oe = _result_oe(_odd_even(edge, one, inner, other, channels))
            _write_4(rows, to + step, 2 * step, 2 * channels, oe)
            oo = _result_oo(_odd_odd(edge, one, inner, other, channels))
            _write_4(rows, to + step + channels, 2 * step, 2 * channels, oo)


@compiled_part
def _end_rows(last: Floats, rows: Floats, top: int, count: int, width: int) -> None:
    """Behind each of `count` rows from the picture's row `top` on: the transposed convolution's last pixel, and zeros.

    A transposed convolution makes one pixel more than twice as many. Where tiles reach beyond the picture (`last` is
    without pixels) they have made it already.
    """
    flat, channels = rows.reshape(-1), rows.shape[2]
    line = rows.shape[1] * channels
    for y in range(_ROWS_ABOVE, _ROWS_ABOVE + count):
        behind = y * line + (_COLUMNS_LEFT + width) * channels
        if len(last):
            _edge(last, top + y - _ROWS_ABOVE, channels, flat, behind)
        _clear(flat, behind + channels, (y + 1) * line)


@compiled_part
def _add_last_rows(last: Floats, rows: Floats, behind: int, width: int) -> None:
    """Row `behind` a picture's last one, likewise, and a row of zeros."""
    flat, channels = rows.reshape(-1), rows.shape[2]
    line = rows.shape[1] * channels
    if len(last):
        for x in range(width + 1):
            _edge(last, x, channels, flat, behind * line + (_COLUMNS_LEFT + x) * channels)
    _clear(flat, behind * line + (_COLUMNS_LEFT + width + 1) * channels, (behind + 2) * line)


@compiled_part
def _edge(last: Floats, place: int, channels: int, flat: Floats, to: int) -> None:
    """One pixel of a transposed convolution of stride two along a line, of its pixels' products (pixels, 3c) with taps.

    An odd place sees the middle tap of its pixel; an even one the first tap of its own and the last of the one before.
    """
    pixel = place // 2
    for c in range(channels):
        if place % 2:
            flat[to + c] = last[pixel, channels + c]
        else:
            own = last[pixel, c] if pixel < len(last) else np.float32(0)
            flat[to + c] = own + last[pixel - 1, 2 * channels + c] if pixel else own


@compiled_part
def _smooth(rows: Floats, picture: int, first: int, end: int, finish: Finish, result: Floats) -> None:
    """Smooth `rows` by the [1, 3, 3, 1] filter into the result's rows `first` to `end`, finished.

    Two by two results are made at once of five by five pixels: 25 are read instead of 16 for each.
    Row `first` is made of the first four of `rows`, and each row of `rows` is three pixels or more longer than the
    result's.
    """
    gains, bias, noise, slope = finish
    _, height, width, channels = result.shape
    step, start = rows.shape[1] * channels, picture * height * width
    slopes = splat(slope)
    for y in range(first, end, 2):
        for x in range(0, width, 2):
            at, pixel = (y - first) * step + x * channels, y * width + x
            for c in range(0, channels, LANES):
                made = _blurred(_pixels_5(rows, at + c, step, channels))
                gain = load(gains, picture * channels + c)
                made = finished(made, gain, load(bias, c), slopes, noise, pixel, width)
                _write_2(result, (start + pixel) * channels + c, width * channels, channels, made)
