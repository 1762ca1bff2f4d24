"""3x3 convolutions by minimal filtering: a quarter of the multiplications (Lavin and Gray 2016, section 4.2).

A tile of 6x6 pixels and the kernel are each brought into a space in which the convolution is a product, 36 products
for 4x4 results instead of 144. It pays on a processor for many channels, and stays within float32's errors by a factor
of about five.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TILE = 4
_REACH = TILE + 2
# A strip of tiles of about this size stays in a core's cache from the first step to the last.
_STRIP_BYTES = 4 * 2**20

_DATA = torch.tensor(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
     [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
    dtype=torch.float64,
)  # fmt: skip
_KERNEL = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
) / 24  # fmt: skip
_RESULT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)

# (what the convolution makes of some rows of tiles, those rows, where the layer's result goes) -> None;
# all Tensors are (rows of tiles, 4, tiles across, 4, outputs).
Finish = Callable[[Tensor, slice, Tensor], None]


def fits(height: int, width: int) -> bool:
    """Whether pictures of this size are made of whole tiles."""
    return height % TILE == 0 and width % TILE == 0


def transformed(weight: Tensor) -> Tensor:
    """Kernels (outputs, inputs, 3, 3) in the space of products, (36, inputs, outputs)."""
    products = torch.einsum("ai,bj,ocij->abco", _KERNEL, _KERNEL, weight.double())
    return products.flatten(0, 1).to(weight.dtype).contiguous()


def convolve(x: Tensor, scales: Tensor, kernels: Tensor, finish: Finish) -> Tensor:
    """Convolution of `x * scales` with zeros around it, size kept.

    Args:
        x: one picture (1, inputs, h, w) of whole tiles.
        scales: of its channels, (1, inputs).
        kernels: see `transformed`.
        finish: makes the layer's result of some rows of tiles while they are in the cache.

    Returns:
        (1, outputs, h, w), channels last in memory.
    """
    _, inputs, height, width = x.shape
    padded = _framed(x[0].permute(1, 2, 0), scales[0])
    across, outputs = width // TILE, kernels.shape[2]
    result = x.new_empty(height // TILE, TILE, across, TILE, outputs)
    strip = max(1, _STRIP_BYTES // (_REACH**2 * across * inputs * x.element_size()))
    for top in range(0, len(result), strip):
        rows = slice(top, min(top + strip, len(result)))
        made = _strip(padded[top * TILE :], kernels, rows.stop - top, across)
        finish(made, rows, result[rows])
    return result.view(1, height, width, outputs).permute(0, 3, 1, 2)


def _framed(x: Tensor, scales: Tensor) -> Tensor:
    """`x * scales`, (h, w, inputs), with a frame of zeros."""
    height, width, inputs = x.shape
    framed = x.new_empty(height + 2, width + 2, inputs)
    framed[0] = framed[-1] = framed[:, 0] = framed[:, -1] = 0
    torch.mul(x, scales, out=framed[1:-1, 1:-1])
    return framed


def _strip(padded: Tensor, kernels: Tensor, down: int, across: int) -> Tensor:
    """Results (down, 4, across, 4, outputs) of the first rows of tiles."""
    row, column, _ = padded.stride()
    inputs = padded.shape[2]
    tiles = padded.as_strided((_REACH, _REACH, down, across, inputs), (row, column, TILE * row, TILE * column, 1))
    data = torch.mm(_both_ways(_DATA, padded), tiles.reshape(_REACH**2, -1))
    products = torch.bmm(data.view(_REACH**2, -1, inputs), kernels)
    made = torch.mm(_both_ways(_RESULT, padded), products.view(_REACH**2, -1))
    return made.view(TILE, TILE, down, across, -1).permute(2, 0, 3, 1, 4)


def _both_ways(matrix: Tensor, like: Tensor) -> Tensor:
    """A transform of rows and columns at once."""
    return torch.kron(matrix, matrix).to(like)


def in_tiles(x: Tensor) -> Tensor:
    """A picture (1, c, h, w), channels last in memory, as (h / 4, 4, w / 4, 4, c)."""
    _, channels, height, width = x.shape
    return x[0].permute(1, 2, 0).view(height // TILE, TILE, width // TILE, TILE, channels)
