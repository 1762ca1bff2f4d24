"""3x3 convolutions by minimal filtering: a quarter of the multiplications (Lavin and Gray 2016, section 4).

A tile of the picture and the kernel are each brought into a space in which the convolution is a product: 36 products
for 4x4 results instead of 144. A transposed convolution of stride two is four small convolutions, one for each parity
of row and column; together they take 81 products for 8x8 results instead of 144. It pays on a processor for many
channels; the error is some five times that of the plain sum in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model_server.networks.cpu import kernels
from model_server.networks.cpu.compiler import AVAILABLE
from model_server.networks.cpu.epilogue import Finish, Modulated, Normalised
from model_server.networks.cpu.packed import PackedConvolution
from model_server.networks.cpu.scratch import Scratch
from model_server.networks.cpu.simd import LANES
from model_server.networks.cpu.toom_cook import TILE, edge_pairs, filtering, inner_pairs

# Of a processor's last cache, through which weights and the tiles that they meet at once pass; some such size will do.
_CACHE_BYTES = 16 * 2**20
_FLOAT_BYTES = 4
_FEWEST_BYTES = 4 * 2**20  # of a strip's tiles; with fewer, its calls take longer than what they do
# Of one tap of the kernel. With fewer weights, bringing tiles into the space of products takes longer than it saves;
# with fewer products of a picture, calling all that does.
_FEWEST_WEIGHTS, _FEWEST_PRODUCTS = 1024, 750_000
_UP_REACH = len(filtering(2).data)  # points of a tile in one direction where the size doubles
_OUTPUTS_AT_ONCE = 8  # of a kernel that is brought into the space of products


def pays(x: Tensor, outputs: int) -> bool:
    """Whether pictures (n, inputs, h, w) take long enough without the detour, by measurement."""
    inputs = x.shape[1]
    channels = inputs * outputs >= _FEWEST_WEIGHTS and inputs % LANES == outputs % LANES == 0
    # Half precision would lose too much in between.
    fitting = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu") and x.is_cpu
    return AVAILABLE and channels and fitting and x[0].numel() * outputs >= _FEWEST_PRODUCTS


class Convolution:
    """A 3x3 convolution, size kept, with zeros around the picture.

    A result lasts until the same object is called again in the same thread.

    Args:
        weight: (outputs, inputs, 3, 3).
    """

    def __init__(self, weight: Tensor) -> None:
        self._outputs, self._inputs = weight.shape[:2]
        self._points = len(filtering(3).data) ** 2
        self._multiply = _Products(lambda: _same_products(weight), self._points)
        self._memory = Scratch()

    def __call__(self, x: Tensor, taken: Modulated | Normalised, finish: Finish | None = None) -> Tensor:
        """Convolve.

        Args:
            x: pictures (n, inputs, h, w).

        Returns:
            (n, outputs, h, w), channels last in memory.
        """
        height, width = x.shape[2:]
        made = self._memory.take("result", len(x), _in_tiles(height) * TILE, _in_tiles(width) * TILE, self._outputs)
        pictures, ending = _pictures(x), finish and _in_whole_tiles(finish).arrays
        floats = self._points * (self._inputs + self._outputs)
        for strip in _strips(x, floats, self._points * self._inputs * self._outputs):
            data = _shared.take("data", strip.tiles, self._points, self._inputs)
            kernels.into_products(pictures, *taken.arrays, strip.place, data.numpy())
            kernels.out_of_products(self._multiply(data).numpy(), strip.place, ending, made.numpy())
        return made[:, :height, :width].permute(0, 3, 1, 2)


class TransposedConvolution:
    """A transposed 3x3 convolution of stride two, smoothed by the [1, 3, 3, 1] filter.

    A result lasts until the same object is called again in the same thread.

    Args:
        weight: (inputs, outputs, 3, 3).
    """

    def __init__(self, weight: Tensor) -> None:
        self._inputs, self._outputs = weight.shape[:2]
        pairs = [edge_pairs(_UP_REACH), inner_pairs(_UP_REACH)]
        self._points = [len(some) for some in pairs]
        self._edge = _Products(lambda: _edge_products(weight), self._points[0])
        self._inner = _Products(lambda: _inner_products(weight), self._points[1])
        # Beyond the last row of whole tiles lies one more row, which only the kernel's last row reaches.
        self._lasts = [last.transpose(1, 2).flatten(1).contiguous() for last in (weight[:, :, 2], weight[..., 2])]
        self._memory = Scratch()

    def __call__(self, x: Tensor, taken: Modulated, finish: Finish) -> Tensor:
        """Convolve and smooth.

        Args:
            x: pictures (n, inputs, h, w).

        Returns:
            (n, outputs, 2h, 2w), channels last in memory.
        """
        edge_points, inner_points = self._points
        results = edge_points * kernels.EDGE_PARTS + inner_points * kernels.INNER_PARTS
        count, inputs, height, width = x.shape
        made = self._memory.take("result", count, 2 * height, 2 * width, self._outputs)
        pictures, lasts, (scales, _, outside) = _pictures(x), self._products_of_last(x, taken), taken.arrays
        floats = sum(self._points) * inputs + results * self._outputs
        for strip in _strips(x, floats, results * inputs * self._outputs):
            edge = _shared.take("edge", strip.tiles, edge_points, inputs)
            inner = _shared.take("inner", strip.tiles, inner_points, inputs)
            kernels.into_half_products(pictures, scales, outside, strip.place, edge.numpy(), inner.numpy())
            products = self._edge(edge).numpy(), self._inner(inner).numpy()
            rows = self._memory.take("rows", *kernels.unsmoothed_shape(strip.rows, strip.across), self._outputs)
            kernels.out_of_half_products(products, strip.place, lasts, rows.numpy(), finish.arrays, made.numpy())
        return made.permute(0, 3, 1, 2)

    def _products_of_last(self, x: Tensor, taken: Modulated) -> tuple[kernels.Floats, kernels.Floats]:
        """Of the last row and column where tiles end with them: (n, w or h, 3 * outputs), else (n, 0, 3 * outputs)."""
        scales = taken.scales[..., None]
        lines = zip((x[:, :, -1], x[..., -1]), x.shape[2:], self._lasts, strict=True)
        row, column = (
            ((line * scales)[..., : 0 if size % TILE else None].transpose(1, 2) @ taps).numpy()
            for line, size, taps in lines
        )
        return row, column


class _Products:
    """Data times kernels, point by point.

    Args:
        factors: makes the kernels (points, outputs, inputs).
    """

    def __init__(self, factors: Callable[[], Tensor], points: int) -> None:
        self._points = points
        self._multiply = PackedConvolution(lambda: factors().flatten(0, 1)[..., None, None], groups=points)

    def __call__(self, data: Tensor) -> Tensor:
        """Products (tiles, points, outputs) of data (tiles, points, inputs)."""
        # A grouped 1x1 convolution is a matrix product for each group: a group of channels is a point, a row of pixels
        # a tile.
        made = self._multiply(data.flatten(1).T[None, :, :, None])
        return made[0, :, :, 0].T.unflatten(1, (self._points, -1))


_shared = Scratch()


@dataclass(frozen=True)
class _Strip:
    """Tiles that meet the weights at once: of `count` pictures, `rows` rows of `across` tiles from `row` on."""

    first: int
    count: int
    row: int
    rows: int
    across: int

    @property
    def tiles(self) -> int:
        return self.count * self.rows * self.across

    @property
    def place(self) -> kernels.Strip:
        return self.first, self.count, self.row, self.rows


def _strips(x: Tensor, floats: int, weights: int) -> Iterator[_Strip]:
    """Several pictures, or some rows of tiles of one; all strips are of the same size, for which weights are packed.

    The more tiles at once, the more often they go out of the cache, and the less often the weights do.

    Args:
        floats: that a tile needs.
        weights: how many.
    """
    down, across = _in_tiles(x.shape[2]), _in_tiles(x.shape[3])
    # Between the size of the cache and that of the weights: their geometric mean.
    most = max(int((_CACHE_BYTES * _FLOAT_BYTES * weights) ** 0.5), _FEWEST_BYTES)
    fitting = most // (_FLOAT_BYTES * floats * across)
    group, rows = _divisor(len(x), fitting // down), _divisor(down, fitting)
    for first in range(0, len(x), group):
        for row in range(0, down, rows):
            yield _Strip(first, group, row, rows, across)


def _divisor(number: int, most: int) -> int:
    """The largest divisor that is not above `most`, or 1."""
    return next((divisor for divisor in range(min(number, most), 1, -1) if number % divisor == 0), 1)


def _in_whole_tiles(finish: Finish) -> Finish:
    """The same, with noise for whole tiles."""
    missing = [-size % TILE for size in finish.noise.shape]
    return replace(finish, noise=F.pad(finish.noise, (0, missing[1], 0, missing[0]))) if any(missing) else finish


def _in_tiles(size: int) -> int:
    return -(-size // TILE)


def _pictures(x: Tensor) -> kernels.Floats:
    """Pictures (n, c, h, w) in the order (n, h, w, c)."""
    return x.permute(0, 2, 3, 1).contiguous().numpy()


# (parity, 2, 3): of even and odd rows or columns of a result, which tap meets the pixel before, and which the pixel
# itself. An odd one sees its own pixel alone, so its kernel has one tap.
_TAPS = np.array([[[0, 0, 1], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]])


def _parities() -> list[NDArray[np.float64]]:
    """What brings 3x3 kernels into the space of products, (points, 9), of even and odd rows, then of columns each."""
    ways = [filtering(2).kernel @ taps for taps in _TAPS]
    return [np.kron(row, column) for row in ways for column in ways]


def _inner_products(weight: Tensor) -> Tensor:
    """Kernels of the inner points, those of the four parities one behind the other."""
    numbers, parts = _numbers(inner_pairs(_UP_REACH)), _parities()
    return _in_space(weight.transpose(0, 1), [part[number] for number in numbers for part in parts], len(numbers))


def _edge_products(weight: Tensor) -> Tensor:
    """Kernels of the edge points: those of even rows and columns, then of the other parity that each point serves."""
    pairs, (even, odd_column, odd_row, _) = edge_pairs(_UP_REACH), _parities()
    other = [odd_row if column == 0 else odd_column for _, column in pairs]
    rows = [part[n] for n, odd in zip(_numbers(pairs), other, strict=True) for part in (even, odd)]
    return _in_space(weight.transpose(0, 1), rows, len(pairs))


def _numbers(pairs: list[tuple[int, int]]) -> list[int]:
    return [row * _UP_REACH + column for row, column in pairs]


def _same_products(weight: Tensor) -> Tensor:
    """Kernels (points, outputs, inputs) of a convolution that keeps the size, of weights (outputs, inputs, 3, 3)."""
    steps = np.kron(filtering(3).kernel, filtering(3).kernel)
    return _in_space(weight, list(steps), len(steps))


def _in_space(weight: Tensor, rows: list[NDArray[np.float64]], points: int) -> Tensor:
    """Sums of the 9 taps by each of `rows`, (points, outputs of a point, inputs).

    Args:
        weight: (outputs, inputs, 3, 3).
    """
    steps, outputs = torch.from_numpy(np.stack(rows)), len(weight)  # steps: (points * parts, 9), float64 as the sums
    made = torch.empty(len(rows), outputs, weight.shape[1], dtype=weight.dtype)
    for first in range(0, outputs, _OUTPUTS_AT_ONCE):  # few at once stay in the cache
        some = weight[first : first + _OUTPUTS_AT_ONCE]
        taps = some.flatten(2).permute(2, 0, 1).flatten(1).double()
        made[:, first : first + len(some)] = (steps @ taps).unflatten(1, some.shape[:2])
    return made.unflatten(0, (points, -1)).flatten(1, 2)
