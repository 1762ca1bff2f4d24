"""Layers of the encoders as inference runs them: normalisations folded into what is next to them, loops compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import lcm
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model_server.networks.cpu import bf16, pixel_kernels, winograd
from model_server.networks.cpu.compiler import AVAILABLE
from model_server.networks.cpu.epilogue import Finish, Modulated, Normalised
from model_server.networks.cpu.packed import PackedConvolution
from model_server.networks.cpu.scratch import Scratch
from model_server.networks.cpu.simd import LANES
from model_server.networks.layers.blocks import ConvNorm, NormConv
from model_server.networks.pcavs.nonidentity_encoder import FaceAlignmentTrunk, MultiBranchBlock
from model_server.networks.pcavs.speech_encoder import SqueezeExcitationBlock

_NORMS = ("stem", "bridge", "landmarks")


def constant(values: Tensor) -> nn.Parameter:
    """Values that belong to a module but are not trained."""
    layout = torch.channels_last if values.ndim == 4 else torch.contiguous_format
    return nn.Parameter(values.detach().contiguous(memory_format=layout), requires_grad=False)


def plain(x: Tensor) -> bool:
    """Whether pictures are float32 on a processor and shall stay so."""
    return x.is_cpu and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def pixels(x: Tensor) -> Tensor:
    """Pictures (n, c, h, w) in the order (n, h, w, c), contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Product of the pixels of (n, inputs, h, w) with a weight (outputs, inputs, 1, 1)."""
    return F.linear(x.permute(0, 2, 3, 1), weight[:, :, 0, 0], bias).permute(0, 3, 1, 2)


class PointwiseConv(nn.Module):
    """1x1 convolution as a product of pixels with weights."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = constant(conv.weight), conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w)."""
        return pointwise(x, self.weight, self.bias)


class OptimizedConv(nn.Module):
    """A convolution, and a ReLU where one follows.

    A result lasts until the same convolution is called again in the same thread.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        self.weight, self.relu = constant(conv.weight), relu
        self.bias = None if conv.bias is None else constant(conv.bias)
        self.stride, self.padding = cast(tuple[int, int], conv.stride), cast(tuple[int, int], conv.padding)
        self.groups = conv.groups

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        if plain(x):
            filtered = self._filterable and winograd.pays(x, len(self.weight))
            return self._filtered(x) if filtered else self._packed(x.contiguous(memory_format=torch.channels_last))
        if self.weight.shape[2:] == (1, 1) and self.stride == (1, 1) and self.groups == 1:
            made = pointwise(x, self.weight, self.bias)
        else:
            made = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        return F.relu_(made) if self.relu else made

    @property
    def _filterable(self) -> bool:
        return (self.weight.shape[2:], self.stride, self.groups) == ((3, 3), (1, 1), 1)

    @cached_property
    def _packed(self) -> PackedConvolution:
        return PackedConvolution(lambda: self.weight, self.bias, self.padding, self.stride, self.groups, self.relu)

    @cached_property
    def _filtered(self) -> Callable[[Tensor], Tensor]:
        """By minimal filtering, with scales and gains of 1."""
        convolve, (outputs, inputs) = winograd.Convolution(self.weight), self.weight.shape[:2]
        bias = torch.zeros(outputs) if self.bias is None else self.bias
        slope = 0.0 if self.relu else 1.0

        def work(x: Tensor) -> Tensor:
            count, _, height, width = x.shape
            ending = Finish(torch.ones(count, outputs), bias, torch.zeros(height, width), slope)
            return convolve(x, Modulated(torch.ones(count, inputs)), ending)

        return work


class OptimizedPool(nn.Module):
    """`nn.MaxPool2d` of two by two pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, channels, h / 2, w / 2)."""
        if not (plain(x) and AVAILABLE and x.shape[1] % LANES == 0):
            return F.max_pool2d(x, 2)
        count, channels, height, width = x.shape
        made = torch.empty(count, height // 2, width // 2, channels)
        pixel_kernels.halve(pixels(x).numpy(), made.numpy())
        return made.permute(0, 3, 1, 2)


class OptimizedNormConv(nn.Module):
    """`NormConv`, its normalisation a scale and a shift."""

    def __init__(self, layer: NormConv) -> None:
        super().__init__()
        norm = layer.norm
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scales = norm.weight * torch.rsqrt(variance + norm.eps)
        self.shifts = constant(norm.bias - mean * scales)
        self.scales = constant(torch.where(scales == 0, torch.finfo(scales.dtype).tiny, scales))
        self.weight = constant(layer.conv.weight)
        self._memory = Scratch()

    @cached_property
    def _by_winograd(self) -> winograd.Convolution:
        return winograd.Convolution(self.weight)

    @cached_property
    def _in_half(self) -> bf16.Convolution:
        return bf16.Convolution(self.weight)

    @cached_property
    def _packed(self) -> PackedConvolution:
        size = self.weight.shape[-1]
        return PackedConvolution(lambda: self.weight, padding=(size // 2, size // 2))

    @cached_property
    def _repeated(self) -> tuple[np.ndarray, np.ndarray]:
        """Scales and shifts until they fill whole vectors."""
        times = lcm(len(self.scales), LANES) // len(self.scales)
        scales, shifts = (np.tile(values.numpy(), times) for values in (self.scales, self.shifts))
        return scales, shifts

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w)."""
        if bf16.fits(x, len(self.weight)):
            return self._in_half(x, Normalised(self.scales, self.shifts))
        if self.weight.shape[-1] == 3 and winograd.pays(x, len(self.weight)):
            return self._by_winograd(x, Normalised(self.scales, self.shifts))
        if plain(x) and AVAILABLE:
            return self._packed(self._normalised(x))
        taken = torch.addcmul(self.shifts[:, None, None], x, self.scales[:, None, None])
        return self._convolved(F.relu_(taken))

    def _normalised(self, x: Tensor) -> Tensor:
        given = pixels(x)
        made = self._memory.take("normalised", *given.shape)
        pixel_kernels.normalise(given.numpy(), *self._repeated, made.numpy())
        return made.permute(0, 3, 1, 2)

    def _convolved(self, x: Tensor) -> Tensor:
        size = self.weight.shape[-1]
        return pointwise(x, self.weight) if size == 1 else F.conv2d(x, self.weight, padding=size // 2)


class OptimizedMultiBranchBlock(nn.Module):
    """`MultiBranchBlock` that adds its shortcut while it joins its branches.

    A result lasts until the same block is called again in the same thread.
    """

    def __init__(self, block: MultiBranchBlock) -> None:
        super().__init__()
        self.block = block
        self._memory = Scratch()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w)."""
        branches = self.block.branches
        first = branches[0](x)
        second = branches[1](first)
        third = branches[2](second)
        added = self.block.shortcut(x)
        if bf16.fits(third, third.shape[1]):
            return bf16.joined([first, second, third], added)
        if not (plain(third) and AVAILABLE):
            return torch.cat([first, second, third], 1).add_(added)
        return self._joined([first, second, third], added)

    def _joined(self, parts: list[Tensor], added: Tensor) -> Tensor:
        *given, rest = (pixels(part).numpy() for part in (*parts, added))
        made = self._memory.take("joined", *rest.shape)
        pixel_kernels.join(tuple(given), rest, made.numpy())
        return made.permute(0, 3, 1, 2)


class OptimizedExcitationBlock(nn.Module):
    """`SqueezeExcitationBlock` with all that is done between and behind its convolutions in two loops."""

    def __init__(self, block: SqueezeExcitationBlock) -> None:
        super().__init__()
        norm = block.first.norm
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        self.scales = constant(norm.weight * torch.rsqrt(variance + norm.eps))
        self.shifts = constant(norm.bias - mean * self.scales)
        self.first, self.second = OptimizedConv(block.first.conv, relu=True), OptimizedConv(_folded(block.second))
        same = isinstance(block.shortcut, nn.Identity)
        self.shortcut = block.shortcut if same else OptimizedConv(_folded(cast(ConvNorm, block.shortcut)))
        self.excitation = block.excitation

    @cached_property
    def _layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights (inputs, outputs) and bias of the layers that make the gates."""
        layers = [layer for layer in self.excitation if isinstance(layer, nn.Linear)]
        return [(layer.weight.T.contiguous().numpy(), layer.bias.numpy()) for layer in layers]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        if not (plain(x) and AVAILABLE):
            y = torch.addcmul(self.shifts[:, None, None], self.first(x), self.scales[:, None, None])
            y = self.second(y)
            return F.relu(y * self.excitation(y.mean((2, 3)))[:, :, None, None] + self.shortcut(x))
        y = pixels(self.first(x))
        pixel_kernels.shift(y.numpy(), self.scales.numpy(), self.shifts.numpy())
        y, added = pixels(self.second(y.permute(0, 3, 1, 2))), pixels(self.shortcut(x))
        made = torch.empty_like(y)
        pixel_kernels.excite(y.numpy(), *self._layers, added.numpy(), made.numpy())
        return made.permute(0, 3, 1, 2)


def _folded(layer: ConvNorm) -> nn.Conv2d:
    return fuse_conv_bn_eval(layer.conv, layer.norm)


class OptimizedTrunk(nn.Module):
    """`FaceAlignmentTrunk`, its own normalisations folded into the convolutions before them."""

    def __init__(self, trunk: FaceAlignmentTrunk) -> None:
        super().__init__()
        folded = (fuse_conv_bn_eval(getattr(trunk, name), getattr(trunk, f"{name}_norm")) for name in _NORMS)
        self.stem, self.bridge, self.landmarks = (OptimizedConv(conv, relu=True) for conv in folded)
        self.entry, self.pool, self.hourglass, self.top = trunk.entry, trunk.pool, trunk.hourglass, trunk.top
        self.squeeze, self.readout = OptimizedConv(trunk.squeeze, relu=True), trunk.readout

    def forward(self, images: Tensor) -> Tensor:
        """As `FaceAlignmentTrunk.forward`."""
        x = self.pool(self.entry[0](self.stem(images)))
        x = self.top(self.hourglass(self.entry[2](self.entry[1](x))))
        return self.readout(self.squeeze(self.landmarks(self.bridge(x))).flatten(1))


OPTIMIZED: dict[type[nn.Module], Callable[..., nn.Module]] = {
    NormConv: OptimizedNormConv,
    MultiBranchBlock: OptimizedMultiBranchBlock,
    SqueezeExcitationBlock: OptimizedExcitationBlock,
    nn.MaxPool2d: lambda _: OptimizedPool(),
    nn.Conv2d: OptimizedConv,
}
"""What takes the place of which layer; of pools there are only those of two by two pixels."""
