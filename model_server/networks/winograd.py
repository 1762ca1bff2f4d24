"""3x3 convolutions by minimal filtering: a quarter of the multiplications (Lavin and Gray 2016, section 4).

A tile of the picture and the kernel are each brought into a space in which the convolution is a product: 36 products
for 4x4 results instead of 144. A transposed convolution of stride two is four small convolutions, one for each parity
of row and column; together they take 81 products for 8x8 results instead of 144. It pays on a processor for many
channels; the error is some five times that of the plain sum in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model_server.networks import kernels
from model_server.networks.fused import Finish, Modulated, Normalised
from model_server.networks.lanes import LANES
from model_server.networks.memory import Memory
from model_server.networks.toom_cook import SPANS, TILE, Filtering, by_zeros, filtering

# Weights and the tiles that they meet at once pass through caches of some such size.
_CACHE_BYTES = 8 * 2**20
_FLOAT_BYTES = 4
_FEWEST_CHANNELS = 32
_SMALLEST_SIZE, _SMALLEST_DOUBLED_SIZE = 14, 28


def pays(x: Tensor, outputs: int, doubled: bool = False) -> bool:
    """Whether pictures (n, inputs, h, w) are large enough for the detour, by measurement.

    Args:
        doubled: for a `TransposedConvolution`.
    """
    inputs, height, width = x.shape[1:]
    large = height * width >= (_SMALLEST_DOUBLED_SIZE if doubled else _SMALLEST_SIZE) ** 2
    whole = not doubled or height % TILE == width % TILE == 0
    channels = all(count >= _FEWEST_CHANNELS and count % LANES == 0 for count in (inputs, outputs))
    # Half precision would lose too much in between.
    fitting = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu") and x.is_cpu
    return kernels.AVAILABLE and large and whole and channels and fitting


class Convolution:
    """A 3x3 convolution, size kept, with zeros around the picture.

    A result lasts until the same object is called again in the same thread.

    Args:
        weight: (outputs, inputs, 3, 3).
    """

    def __init__(self, weight: Tensor) -> None:
        self._kernels = _products(weight, filtering(3))
        self._memory = Memory()

    def __call__(self, x: Tensor, taken: Modulated | Normalised, finish: Finish | None = None) -> Tensor:
        """Convolve.

        Args:
            x: pictures (n, inputs, h, w) of whole tiles.

        Returns:
            (n, outputs, h, w), channels last in memory.
        """
        points, inputs, outputs = self._kernels.shape
        height, width = x.shape[2:]
        made = self._memory.take("result", len(x), _in_tiles(height) * TILE, _in_tiles(width) * TILE, outputs)
        pictures, finish = _pictures(x), finish and _in_whole_tiles(finish)
        for strip in _strips(x, points * (inputs + outputs), self._kernels.numel()):
            data = _shared.take("data", points, strip.tiles, inputs)
            for part in strip.parts:
                tiles = part.row, data.numpy(), part.start, part.count
                kernels.into_products(pictures[part.picture], *taken.of(part.picture), *tiles)
            products = torch.bmm(data, self._kernels, out=_shared.take("products", points, strip.tiles, outputs))
            for part in strip.parts:
                ending = None if finish is None else finish.of(part.picture)
                result = made[part.picture].numpy()
                kernels.out_of_products(products.numpy(), part.start, part.count, part.row, ending, result)
        return made[:, :height, :width].permute(0, 3, 1, 2)


class TransposedConvolution:
    """A transposed 3x3 convolution of stride two, smoothed by the [1, 3, 3, 1] filter.

    A result lasts until the same object is called again in the same thread.

    Args:
        weight: (inputs, outputs, 3, 3).
    """

    def __init__(self, weight: Tensor) -> None:
        steps = filtering(2)
        order = by_zeros(len(steps.data))
        parts = zip(_parts(weight), SPANS, strict=True)
        self._kernels = [_products(kernel, steps)[order][span].contiguous() for kernel, span in parts]
        # Beyond the last row of tiles lies one more row, which only the kernel's last row reaches.
        self._last_row, self._last_column = (
            last.transpose(1, 2).flatten(1).contiguous() for last in (weight[:, :, 2], weight[..., 2])
        )
        self._memory = Memory()

    def __call__(self, x: Tensor, taken: Modulated, finish: Finish) -> Tensor:
        """Convolve and smooth.

        Args:
            x: pictures (n, inputs, h, w) of whole tiles.

        Returns:
            (n, outputs, 2h, 2w), channels last in memory.
        """
        points = [len(part) for part in self._kernels]
        _, inputs, outputs = self._kernels[0].shape
        count, _, height, width = x.shape
        pictures, made = _pictures(x), self._memory.take("result", count, 2 * height, 2 * width, outputs)
        for strip in _strips(x, points[0] * inputs + sum(points) * outputs, sum(points) * inputs * outputs):
            data = _shared.take("data", points[0], strip.tiles, inputs)
            for part in strip.parts:
                scales, _, outside = taken.of(part.picture)
                tiles = part.row, data.numpy(), part.start, part.count
                kernels.into_half_products(pictures[part.picture], scales, outside, *tiles)
            products = _shared.take("products", sum(points), strip.tiles, outputs)
            for some, span, factors in zip(products.split(points), SPANS, self._kernels, strict=True):
                torch.bmm(data[span], factors, out=some)
            for part in strip.parts:
                scaled = pictures[part.picture], taken.of(part.picture)[0]
                self._smoothed(products, part, scaled, finish.of(part.picture), made[part.picture])
        return made.permute(0, 3, 1, 2)

    def _smoothed(
        self, products: Tensor, part: _Part, x: tuple[kernels.Floats, kernels.Floats], finish: kernels.Finish,
        result: Tensor,
    ) -> None:  # fmt: skip
        """Rows of results of a part of a strip."""
        height, width, outputs = result.shape
        top, bottom = 2 * TILE * part.row, 2 * TILE * (part.row + part.rows)
        # Three rows of the strip before, the strip, and at the end the last row and a row of zeros.
        rows = self._memory.take("rows", 3 + bottom - top + 2, width + 3, outputs)
        rows[:, 0] = rows[:, -1] = 0
        rows[:3] = self._memory.take("carried", 3, width + 3, outputs) if part.row else 0
        kernels.out_of_half_products(products.numpy(), part.start, part.count, rows[3:].numpy())
        pixels, scales = x
        before = max(part.row * TILE - 1, 0)  # whose pixel reaches into the first row
        column = _edge(pixels[before : bottom // 2, -1] * scales, self._last_column)
        rows[3 : 3 + bottom - top, -2] = column[top - 2 * before : bottom - 2 * before]
        last = bottom == height
        if last:
            rows[-2, 1:-1], rows[-1] = _edge(pixels[-1] * scales, self._last_row), 0
        else:
            self._memory.take("carried", 3, width + 3, outputs).copy_(rows[bottom - top : bottom - top + 3])
        first, end = max(top - 2, 0), bottom if last else bottom - 2
        kernels.smooth(rows[first - top + 2 :].numpy(), first, end, finish, result.numpy())


_shared = Memory()


@dataclass(frozen=True)
class _Part:
    """Tiles of one picture in a strip: `rows` of them from `row` on, and in the strip from tile `start` on."""

    picture: int
    row: int
    rows: int
    start: int
    count: int


@dataclass(frozen=True)
class _Strip:
    """Tiles that meet the weights at once."""

    parts: list[_Part]

    @property
    def tiles(self) -> int:
        return sum(part.count for part in self.parts)


def _strips(x: Tensor, floats: int, weights: int) -> Iterator[_Strip]:
    """Several pictures, or some rows of tiles of one.

    The more tiles at once, the more often they go out of the cache, and the less often the weights do.

    Args:
        floats: that a tile needs.
        weights: how many.
    """
    down, across = _in_tiles(x.shape[2]), _in_tiles(x.shape[3])
    fitting = int((_CACHE_BYTES * _FLOAT_BYTES * weights) ** 0.5) // (_FLOAT_BYTES * floats * across)
    group = max(1, fitting // down)
    for first in range(0, len(x), group):
        pictures = range(first, min(first + group, len(x)))
        if len(pictures) > 1:
            size = down * across
            yield _Strip([_Part(n, 0, down, (n - first) * size, size) for n in pictures])
        else:
            for rows in np.array_split(range(down), -(-down // max(1, fitting))):
                yield _Strip([_Part(first, int(rows[0]), len(rows), 0, len(rows) * across)])


def _in_whole_tiles(finish: Finish) -> Finish:
    """The same, with noise for whole tiles."""
    missing = [-size % TILE for size in finish.noise.shape]
    return replace(finish, noise=F.pad(finish.noise, (0, missing[1], 0, missing[0]))) if any(missing) else finish


def _in_tiles(size: int) -> int:
    return -(-size // TILE)


def _pictures(x: Tensor) -> kernels.Floats:
    """Pictures (n, c, h, w) in the order (n, h, w, c)."""
    return x.permute(0, 2, 3, 1).contiguous().numpy()


def _edge(line: NDArray[np.float32], taps: Tensor) -> Tensor:
    """A transposed convolution of stride two along a line of k pixels (k, inputs): (2k + 1, outputs).

    Args:
        taps: (inputs, 3 * outputs).
    """
    made = (torch.from_numpy(line) @ taps).unflatten(1, (3, -1))
    edge = made.new_zeros(2 * len(line) + 1, made.shape[2])
    edge[1::2] = made[:, 1]
    edge[:-1:2] += made[:, 0]
    edge[2::2] += made[:, 2]
    return edge


def _parts(weight: Tensor) -> list[Tensor]:
    """Kernels (outputs, inputs, 2, 2) of even and odd rows and columns, over a pixel and the one before it."""
    taps = weight.new_tensor([[[0, 0, 1], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]])
    return [torch.einsum("iokl,ak,bl->oiab", weight, row, column) for row in taps for column in taps]


def _products(weight: Tensor, steps: Filtering) -> Tensor:
    """Kernels (outputs, inputs, k, k) in the space of products, (points, inputs, outputs)."""
    kernel = torch.from_numpy(steps.kernel)
    made = torch.einsum("ai,bj,ocij->abco", kernel, kernel, weight.double())
    return made.flatten(0, 1).to(weight.dtype).contiguous()
