"""Layers of a style-based generator: modulated convolution, FIR resampling, to-RGB (StyleGAN2, Karras et al. 2020).

Modulating the weights per image, as the paper writes it, equals scaling the input channels before and the output
channels after one shared convolution. That form is used here: it runs a whole batch in a single ordinary convolution.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-8
GAIN = math.sqrt(2)


class EqualizedLinear(nn.Module):
    """Linear layer whose weights are stored at unit variance and scaled by 1 / sqrt(inputs) at run time."""

    def __init__(self, inputs: int, outputs: int, bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs) to (n, outputs)."""
        return F.linear(x * self.scale, self.weight, self.bias)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by the style; optionally demodulated and upsampled by two."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, style: int, demodulate: bool = True, upsample: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.modulation = EqualizedLinear(style, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.demodulate = demodulate
        self.upsample = upsample

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (n, inputs, h, w) and styles (n, style) to (n, outputs, h, w), or (n, outputs, 2h, 2w) if upsampling."""
        scales = self.modulation(style) * self.scale
        y = self.convolve(x * _per_channel(scales))
        return y * _per_channel(self._demodulation(scales)) if self.demodulate else y

    def _demodulation(self, scales: Tensor) -> Tensor:
        energy = self.weight.square().sum((2, 3))
        return torch.rsqrt(F.linear(scales.square(), energy) + EPSILON)

    def convolve(self, x: Tensor) -> Tensor:
        """The plain convolution, of which modulation scales what comes in and what goes out."""
        if self.upsample:
            return blur(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2))
        return F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)


class StyledConv(nn.Module):
    """Modulated convolution, noise with a learned strength, bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, style: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, style, upsample=upsample)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """As `ModulatedConv.forward`; `noise` is (1 or n, 1, height out, width out)."""
        y = self.conv(x, style) + (noise * self.noise_strength + _per_channel(self.bias))
        return F.leaky_relu(y, 0.2) * GAIN


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to RGB without demodulation."""

    def __init__(self, inputs: int, style: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (n, inputs, h, w) and styles (n, style) to RGB (n, 3, h, w), unbounded."""
        return self.conv(x, style) + _per_channel(self.bias)


def blur(x: Tensor, kernel: Tensor | None = None) -> Tensor:
    """Smooth (n, c, h, w) by the [1, 3, 3, 1] filter, gain four, into (n, c, h - 1, w - 1).

    Args:
        kernel: `smoothing(x)`, where it is at hand.
    """
    return F.conv2d(x, smoothing(x) if kernel is None else kernel, padding=1, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Double height and width of (n, c, h, w) by zero insertion and the [1, 3, 3, 1] filter."""
    return F.conv_transpose2d(x, smoothing(x), stride=2, padding=1, groups=x.shape[1])


def smoothing(x: Tensor) -> Tensor:
    """The filter [1, 3, 3, 1] both ways with gain four, for each channel of (n, c, h, w): (c, 1, 4, 4)."""
    # Made on the device: while a GPU records its work, nothing may come from the host.
    taps = F.pad(x.new_full((2,), 3.0), (1, 1), value=1.0) / 4
    return torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)


def _per_channel(values: Tensor) -> Tensor:
    return values[..., None, None]
