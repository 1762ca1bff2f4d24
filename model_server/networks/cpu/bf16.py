"""Convolutions in half precision on processors with instructions for it: bfloat16 in memory, sums in float32.

A transposed convolution of stride two is four small ones, for each parity of row and column, which such processors run
several times as fast as the one. Scales, blur, noise and activation are loops of their own (`half_kernels`).
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

from model_server.networks.cpu import bf16_kernels as kernels
from model_server.networks.cpu.compiler import AVAILABLE
from model_server.networks.cpu.epilogue import Finish, Modulated, Normalised
from model_server.networks.cpu.packed import PackedConvolution
from model_server.networks.cpu.scratch import Scratch
from model_server.networks.cpu.simd import LANES

_TYPE = torch.bfloat16
# Instruction sets without half precision, as oneDNN calls them.
_LIMIT = "ONEDNN_MAX_CPU_ISA"
_WITHOUT = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
# Which rows, and columns, of a 3x3 kernel make even and odd ones of a result twice as large.
_PARITIES = ([2, 0], [1])


def native() -> bool:
    """Whether this processor has instructions for half precision; without them it would take far longer."""
    if os.environ.get(_LIMIT, "").upper() in _WITHOUT:  # the processor's library is told to leave them alone
        return False
    known = torch.cpu.get_capabilities()
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def fits(x: Tensor, outputs: int) -> bool:
    """Whether pictures (n, inputs, h, w) are on a processor, in an autocast region, and fill vectors of channels."""
    asked = x.is_cpu and torch.is_autocast_enabled("cpu")
    return AVAILABLE and asked and x.shape[1] % LANES == outputs % LANES == 0


class Convolution:
    """A convolution that keeps a picture's size, with zeros around it.

    Args:
        weight: (outputs, inputs, k, k), k 1 or 3.
    """

    def __init__(self, weight: Tensor) -> None:
        self._convolve = _packed(weight, (weight.shape[2] // 2, weight.shape[3] // 2))
        self._memory = Scratch()

    def __call__(self, x: Tensor, taken: Modulated | Normalised, finish: Finish | None = None) -> Tensor:
        """Convolve pictures (n, inputs, h, w) into bfloat16 (n, outputs, h, w), channels last in memory."""
        made = self._convolve(_taken(x, taken, self._memory))
        if finish:
            gains, *rest = finish.arrays
            for picture, gain in zip(_pictures(made), gains, strict=True):
                kernels.finish(picture, (gain, *rest), picture)
        return made


class TransposedConvolution:
    """A transposed 3x3 convolution of stride two, smoothed by the [1, 3, 3, 1] filter.

    Args:
        weight: (inputs, outputs, 3, 3).
    """

    def __init__(self, weight: Tensor) -> None:
        self._parts = [_parity(weight.transpose(0, 1), rows, columns) for rows in _PARITIES for columns in _PARITIES]
        self._memory = Scratch()

    def __call__(self, x: Tensor, taken: Modulated, finish: Finish) -> Tensor:
        """Convolve pictures (n, inputs, h, w) into bfloat16 (n, outputs, 2h, 2w), channels last in memory."""
        x = _taken(x, taken, self._memory)
        parts = [convolve(x) for convolve in self._parts]
        made = torch.empty(len(x), 2 * x.shape[2], 2 * x.shape[3], parts[0].shape[1], dtype=_TYPE).permute(0, 3, 1, 2)
        gains, *rest = finish.arrays
        for *pictures, result, gain in zip(*map(_pictures, (*parts, made)), gains, strict=True):
            kernels.smooth(tuple(pictures), (gain, *rest), result)
        return made


def to_rgb(x: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """Products of the pixels of pictures (n, c, h, w) with weights (n, 3, c), plus bias (3,): float32 (n, 3, h, w)."""
    pictures = _pictures(x.contiguous(memory_format=torch.channels_last))
    made = torch.empty(len(x), *x.shape[2:], 3)
    for picture, factors, result in zip(pictures, weights.contiguous(), made, strict=True):
        kernels.to_rgb(picture, factors.numpy(), bias.numpy(), result.numpy())
    return made.permute(0, 3, 1, 2)


def joined(parts: list[Tensor], added: Tensor) -> Tensor:
    """The channels of bfloat16 parts, in order, plus other pictures (n, channels, h, w); float32."""
    made = torch.empty_like(added, dtype=torch.float32)
    for *pictures, rest, result in zip(*map(_pictures, (*parts, added, made)), strict=True):
        kernels.join(tuple(pictures), rest, result)
    return made


def _taken(x: Tensor, taken: Modulated | Normalised, memory: Scratch) -> Tensor:
    """Pictures ready for a convolution; they last until `memory` is asked again."""
    x = x.contiguous(memory_format=torch.channels_last)
    count, channels, height, width = x.shape
    ready = memory.take("taken", count, height, width, channels, kind=_TYPE).permute(0, 3, 1, 2)
    scales, shifts, _ = taken.arrays
    for n, (picture, result) in enumerate(zip(_pictures(x), _pictures(ready), strict=True)):
        if shifts is None:
            kernels.scale(picture, scales[n], result)
        else:
            kernels.normalise(picture, scales[0], shifts[0], result)
    return ready


def _parity(weight: Tensor, rows: list[int], columns: list[int]) -> PackedConvolution:
    """Makes the pixels of one parity of rows and columns."""
    return _packed(weight[:, :, rows][..., columns], (len(rows) - 1, len(columns) - 1))


def _packed(weight: Tensor, padding: tuple[int, int]) -> PackedConvolution:
    halved = weight.detach().to(_TYPE).contiguous(memory_format=torch.channels_last)
    return PackedConvolution(lambda: halved, padding=padding)


def _pictures(x: Tensor) -> list[kernels.Halves | kernels.Floats]:
    """Each of the pictures (n, c, h, w), channels last, as (h, w, c)."""
    pictures = x.permute(0, 2, 3, 1)
    return list((pictures.view(torch.int16) if x.dtype == _TYPE else pictures).numpy())
