"""The loops around the products of minimal filtering, compiled by Numba.

All arrays are float32 and contiguous: pictures (height, width, channels), data and products (tiles, points, channels).
Channels are a multiple of `LANES`. A call works on `count` tiles, which begin with row of tiles `row` of the picture
and lie in data and products from tile `start` on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model_server.networks.compiler import compiled
from model_server.networks.lanes import (
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
from model_server.networks.toom_cook import TILE, edge_pairs, filtering, inner_pairs

Floats = NDArray[np.float32]
# What results go through: times gains, plus bias (both for each channel), plus noise (for each pixel), leaky ReLU.
Finish = tuple[Floats, Floats, Floats, float]

_SAME, _HALF = filtering(3), filtering(2)
_REACH, _UP_REACH = len(_SAME.data), len(_HALF.data)
_BLUR = np.array([[1, 3, 3, 1, 0], [0, 1, 3, 3, 1]]) / 4


def _square(size: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(size) for column in range(size)]


def _line(size: int) -> list[tuple[int, int]]:
    return [(row, 0) for row in range(size)]


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
    """Reads the products of one parity of rows and columns, in the order of rows and columns."""
    pairs = [(y, x) for y in range(odd_row, _UP_REACH) for x in range(odd_column, _UP_REACH)]
    other, part = odd_row or odd_column, 2 * odd_row + odd_column
    at = {pair: (False, n * EDGE_PARTS + other) for n, pair in enumerate(_EDGE)}
    at |= {pair: (True, n * INNER_PARTS + part) for n, pair in enumerate(_INNER)}
    return reader_of_two([at[pair] for pair in pairs])


def _part_result(odd_row: bool, odd_column: bool) -> Callable:
    return both_ways(_HALF.result[:, int(odd_row) :], _HALF.result[:, int(odd_column) :])


_PARITIES = [(False, False), (False, True), (True, False), (True, True)]
_even_even, _even_odd, _odd_even, _odd_odd = (_part_reader(*parity) for parity in _PARITIES)
_result_ee, _result_eo, _result_oe, _result_oo = (_part_result(*parity) for parity in _PARITIES)


@compiled
def _around(x: Floats, top: int, left: int, reach: int, outside: Floats, scratch: Floats) -> tuple[Floats, int, int]:
    """Where the tile at (top, left) of `x` is to be read: array, first element, step of a row.

    A tile that reaches beyond the picture is copied, with pixels `outside` there.
    """
    height, width, channels = x.shape
    flat = x.reshape(-1)
    if top >= 0 and left >= 0 and top + reach <= height and left + reach <= width:
        return flat, (top * width + left) * channels, width * channels
    for pixel in range(reach**2):
        scratch[pixel * channels : (pixel + 1) * channels] = outside
    first, end = max(left, 0), min(left + reach, width)
    for row in range(max(top, 0), min(top + reach, height)):
        to, source = ((row - top) * reach + first - left) * channels, (row * width + first) * channels
        scratch[to : to + (end - first) * channels] = flat[source : source + (end - first) * channels]
    return scratch, 0, reach * channels


@compiled
def into_products(
    x: Floats, scales: Floats, shifts: Floats | None, outside: Floats, row: int, data: Floats, start: int, count: int
) -> None:
    """Tiles of `x * scales`, or of `relu(x * scales + shifts)`, in the space of products: 36 points.

    Args:
        outside: a pixel that becomes zero on the way.
    """
    _, width, channels = x.shape
    across = -(-width // TILE)
    scratch = np.empty(_REACH**2 * channels, np.float32)
    for tile in range(count):
        top, left = TILE * (row + tile // across) - 1, TILE * (tile % across) - 1
        source, at, step = _around(x, top, left, _REACH, outside, scratch)
        to = (start + tile) * _REACH**2 * channels
        for c in range(0, channels, LANES):
            pixels = _pixels_6(source, at + c, step, channels)
            if shifts is None:
                taken = scaled(pixels, load(scales, c))
            else:
                taken = rectified(pixels, load(scales, c), load(shifts, c))
            _write_36(data, to + c, channels, 0, _data_6(taken))


@compiled
def into_half_products(
    x: Floats, scales: Floats, outside: Floats, row: int, edge: Floats, inner: Floats, start: int, count: int
) -> None:
    """As `into_products`, for convolutions that double the size: 9 edge and 16 inner points."""
    _, width, channels = x.shape
    across = -(-width // TILE)
    scratch = np.empty(_UP_REACH**2 * channels, np.float32)
    for tile in range(count):
        top, left = TILE * (row + tile // across) - 1, TILE * (tile % across) - 1
        source, at, step = _around(x, top, left, _UP_REACH, outside, scratch)
        to_edge = (start + tile) * edge.shape[1] * channels
        to_inner = (start + tile) * inner.shape[1] * channels
        for c in range(0, channels, LANES):
            made = _data_5(scaled(_pixels_5(source, at + c, step, channels), load(scales, c)))
            _write_edge(edge, to_edge + c, channels, 0, made)
            _write_inner(inner, to_inner + c, channels, 0, made)


@compiled
def out_of_products(products: Floats, start: int, count: int, row: int, finish: Finish | None, result: Floats) -> None:
    """Results of 36 products each, finished."""
    _, width, channels = result.shape
    across = width // TILE
    for tile in range(count):
        pixel = TILE * (row + tile // across) * width + TILE * (tile % across)
        at = (start + tile) * _REACH**2 * channels
        for c in range(0, channels, LANES):
            made = _result_6(_products_36(products, at + c, channels, 0))
            if finish is not None:
                gains, bias, noise, slope = finish
                made = finished(made, load(gains, c), load(bias, c), splat(slope), noise, pixel, width)
            _write_4(result, pixel * channels + c, width * channels, channels, made)


@compiled
def out_of_half_products(edge: Floats, inner: Floats, start: int, count: int, rows: Floats) -> None:
    """Results of edge and inner products, 8x8 pixels for each tile, into `rows` from the second column on."""
    _, width, channels = rows.shape
    across, step = (width - 3) // (2 * TILE), width * channels
    for tile in range(count):
        corner = (2 * TILE * (tile // across) * width + 2 * TILE * (tile % across) + 1) * channels
        at_edge = (start + tile) * edge.shape[1] * edge.shape[2]
        at_inner = (start + tile) * inner.shape[1] * inner.shape[2]
        for c in range(0, channels, LANES):
            one, other, to = at_edge + c, at_inner + c, corner + c
            ee = _result_ee(_even_even(edge, one, inner, other, channels))
            _write_4(rows, to, 2 * step, 2 * channels, ee)
            eo = _result_eo(_even_odd(edge, one, inner, other, channels))
            _write_4(rows, to + channels, 2 * step, 2 * channels, eo)
            oe = _result_oe(_odd_even(edge, one, inner, other, channels))
            _write_4(rows, to + step, 2 * step, 2 * channels, oe)
            oo = _result_oo(_odd_odd(edge, one, inner, other, channels))
            _write_4(rows, to + step + channels, 2 * step, 2 * channels, oo)


@compiled
def smooth(rows: Floats, first: int, end: int, finish: Finish, result: Floats) -> None:
    """Smooth `rows` by the [1, 3, 3, 1] filter into the result's rows `first` to `end`, finished.

    Row `first` is made of the first four of `rows`, and each row of `rows` is three pixels or more longer than the
    result's.
    """
    gains, bias, noise, slope = finish
    _, width, channels = result.shape
    step = rows.shape[1] * channels
    slopes = splat(slope)
    for y in range(first, end, 2):
        for x in range(0, width, 2):
            at, pixel = (y - first) * step + x * channels, y * width + x
            for c in range(0, channels, LANES):
                made = _blurred(_pixels_5(rows, at + c, step, channels))
                made = finished(made, load(gains, c), load(bias, c), slopes, noise, pixel, width)
                _write_2(result, pixel * channels + c, width * channels, channels, made)
