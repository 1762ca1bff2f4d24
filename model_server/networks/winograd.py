"""3x3 convolutions by minimal filtering: a quarter of the multiplications (Lavin and Gray 2016, section 4).

A tile of the picture and the kernel are each brought into a space in which the convolution is a product: 36 products
for 4x4 results instead of 144. A transposed convolution of stride two is four small convolutions, one for each parity
of row and column; together they take 81 products for 8x8 results instead of 144. It pays on a processor for many
channels; the error is some five times that of the plain sum in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.polynomial import polynomial
from torch import Tensor

TILE = 4
# A strip of tiles of about this size stays in a core's cache from the first step to the last.
_STRIP_BYTES = 4 * 2**20
_FEWEST_CHANNELS = 64
_SMALLEST_SIZE = 28

# (what the convolution makes of some rows of tiles, those rows, where the layer's result goes) -> None;
# all Tensors are (rows of tiles, 4, tiles across, 4, outputs).
Finish = Callable[[Tensor, slice, Tensor], None]


def _as_it_is(made: Tensor, rows: slice, result: Tensor) -> None:
    result.copy_(made)


@dataclass(frozen=True)
class Filtering:
    """Transforms of one direction for 4 results, by the points at which polynomials are multiplied.

    Attributes:
        data: (points, points), of a tile's pixels.
        kernel: (points, taps).
        result: (4, points), of the products.
    """

    data: Tensor
    kernel: Tensor
    result: Tensor

    @property
    def reach(self) -> int:
        """Pixels of a tile, and products, in one direction."""
        return len(self.data)

    def both_ways(self, matrix: Tensor, like: Tensor) -> Tensor:
        """A transform of rows and columns at once."""
        return torch.kron(matrix, matrix).to(like)


@cache
def filtering(taps: int) -> Filtering:
    """Toom and Cook's construction: the points 0, 1, -1, 2, ... and infinity."""
    points = [0.0, 1.0, -1.0, 2.0, -2.0][: TILE + taps - 2]
    every = polynomial.polyfromroots(points)
    others = [polynomial.polyfromroots([other for other in points if other != point]) for point in points]
    weights = [polynomial.polyval(point, other) for point, other in zip(points, others, strict=True)]
    data = np.stack([*(np.append(other, 0) for other in others), every])
    kernel = np.vander(points, taps, increasing=True) / np.array(weights)[:, None]
    result = np.vander(points, TILE, increasing=True)
    at_infinity = [np.eye(size)[-1:] for size in (taps, TILE)]
    with torch.inference_mode(False):
        return Filtering(
            torch.from_numpy(data),
            torch.from_numpy(np.concatenate([kernel, at_infinity[0]])),
            torch.from_numpy(np.concatenate([result, at_infinity[1]]).T.copy()),
        )


def pays(x: Tensor) -> bool:
    """Whether pictures (n, inputs, h, w) are made of whole tiles, and large enough for the detour, by measurement."""
    inputs, height, width = x.shape[1:]
    whole = height % TILE == 0 and width % TILE == 0
    large = inputs >= _FEWEST_CHANNELS and min(height, width) >= _SMALLEST_SIZE
    # Half precision would lose too much in between.
    return whole and large and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu") and x.is_cpu


class Convolution:
    """A 3x3 convolution, size kept, with zeros around the picture.

    Args:
        weight: (outputs, inputs, 3, 3).
    """

    def __init__(self, weight: Tensor) -> None:
        steps = filtering(3)
        self._data, self._result = (steps.both_ways(matrix, weight) for matrix in (steps.data, steps.result))
        self._kernels = _products(weight, steps)
        self._reach = steps.reach

    def __call__(self, x: Tensor, scales: Tensor, finish: Finish = _as_it_is) -> Tensor:
        """Convolve `x * scales`.

        Args:
            x: one picture (1, inputs, h, w) of whole tiles.
            scales: of its channels, (inputs,).
            finish: makes the layer's result of some rows of tiles while they are in the cache.

        Returns:
            (1, outputs, h, w), channels last in memory.
        """
        _, _, height, width = x.shape
        result = x.new_empty(height // TILE, TILE, width // TILE, TILE, self._kernels.shape[2])
        for rows, data in _strips(_framed(x, scales), self._data, self._reach):
            products = torch.bmm(data, self._kernels)
            finish(_results(self._result, products, result[rows]), rows, result[rows])
        return result.view(1, height, width, -1).permute(0, 3, 1, 2)


class TransposedConvolution:
    """A transposed 3x3 convolution of stride two.

    Args:
        weight: (inputs, outputs, 3, 3).
    """

    def __init__(self, weight: Tensor) -> None:
        steps = filtering(2)
        order = _by_zeros(steps.reach)
        self._weight = weight
        self._data = steps.both_ways(steps.data, weight)[order]
        self._result = steps.both_ways(steps.result, weight)[:, order].contiguous()
        self._kernels = [
            _products(kernel, steps)[order][span] for kernel, span in zip(_parts(weight), _SPANS, strict=True)
        ]
        self._reach = steps.reach

    def __call__(self, x: Tensor, scales: Tensor) -> Tensor:
        """Convolve `x * scales`.

        Args:
            x: one picture (1, inputs, h, w) of whole tiles.
            scales: of its channels, (inputs,).

        Returns:
            (1, outputs, 2h + 1, 2w + 1), channels last in memory.
        """
        _, _, height, width = x.shape
        result = x.new_empty(2 * height + 1, 2 * width + 1, self._weight.shape[1])
        self._edges(x * scales[:, None, None], result)
        tiled = result[:-1, :-1].unflatten(1, (-1, TILE, 2)).unflatten(0, (-1, TILE, 2))
        parts = [tiled[:, :, row, :, :, column] for row in (0, 1) for column in (0, 1)]
        for rows, data in _strips(_framed(x, scales), self._data, self._reach):
            for part, span, kernels in zip(parts, _SPANS, self._kernels, strict=True):
                products = torch.bmm(data[span], kernels)
                part[rows].copy_(_results(self._result[:, span], products, part[rows]))
        return result[None].permute(0, 3, 1, 2)

    def _edges(self, x: Tensor, result: Tensor) -> None:
        """The last row and column, which lie beyond the last tiles."""
        row = F.conv_transpose2d(x[:, :, -1:], self._weight[:, :, 2:], stride=2)
        column = F.conv_transpose2d(x[..., -1:], self._weight[..., 2:], stride=2)
        result[-1] = row[0, :, 0].T
        result[:, -1] = column[0, :, :, 0].T


# An odd row meets one tap of the kernel, and then the products at the point 0 vanish. With the points in the order of
# `_by_zeros`, each part of the result needs a span of them.
_SPANS = (slice(0, 25), slice(1, 21), slice(5, 25), slice(5, 21))


def _by_zeros(reach: int) -> list[int]:
    """Pairs of points in the order: both 0, the row's 0, none 0, the column's 0."""
    pairs = [(row, column) for row in range(reach) for column in range(reach)]
    places = {(True, True): 0, (True, False): 1, (False, False): 2, (False, True): 3}
    return sorted(range(len(pairs)), key=lambda n: places[pairs[n][0] == 0, pairs[n][1] == 0])


def _parts(weight: Tensor) -> list[Tensor]:
    """Kernels (outputs, inputs, 2, 2) of even and odd rows and columns, over a pixel and the one before it."""
    taps = weight.new_tensor([[[0, 0, 1], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]])
    return [torch.einsum("iokl,ak,bl->oiab", weight, row, column) for row in taps for column in taps]


def _products(weight: Tensor, steps: Filtering) -> Tensor:
    """Kernels (outputs, inputs, k, k) in the space of products, (points, inputs, outputs)."""
    made = torch.einsum("ai,bj,ocij->abco", steps.kernel, steps.kernel, weight.double())
    return made.flatten(0, 1).to(weight.dtype).contiguous()


def _strips(framed: Tensor, transform: Tensor, reach: int) -> Iterator[tuple[slice, Tensor]]:
    """Rows of tiles by the strip, and their pixels in the space of products, (points, tiles, inputs).

    Args:
        framed: see `_framed`.
        reach: pixels of a tile.
    """
    row, column, _ = framed.stride()
    down, across, inputs = framed.shape[0] // TILE, framed.shape[1] // TILE, framed.shape[2]
    strip = max(1, _STRIP_BYTES // (len(transform) * across * inputs * framed.element_size()))
    for top in range(0, down, strip):
        rows = slice(top, min(top + strip, down))
        size = (reach, reach, rows.stop - top, across, inputs)
        tiles = framed[top * TILE :].as_strided(size, (row, column, TILE * row, TILE * column, 1))
        yield rows, torch.mm(transform, tiles.reshape(reach**2, -1)).view(len(transform), -1, inputs)


def _framed(x: Tensor, scales: Tensor) -> Tensor:
    """`x * scales` as (h + 2, w + 2, inputs), in a frame of zeros."""
    _, inputs, height, width = x.shape
    framed = x.new_empty(height + 2, width + 2, inputs)
    framed[0] = framed[-1] = framed[:, 0] = framed[:, -1] = 0
    torch.mul(x[0].permute(1, 2, 0), scales, out=framed[1:-1, 1:-1])
    return framed


def _results(transform: Tensor, products: Tensor, like: Tensor) -> Tensor:
    """Products (points, tiles, outputs) as results (rows of tiles, 4, tiles across, 4, outputs)."""
    made = torch.mm(transform, products.flatten(1))
    down, _, across, _, outputs = like.shape
    return made.view(TILE, TILE, down, across, outputs).permute(2, 0, 3, 1, 4)


def in_tiles(x: Tensor) -> Tensor:
    """A picture (1, c, h, w), channels last in memory, as (h / 4, 4, w / 4, 4, c)."""
    _, channels, height, width = x.shape
    return x[0].permute(1, 2, 0).view(height // TILE, TILE, width // TILE, TILE, channels)
