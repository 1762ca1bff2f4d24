"""Blocks that several networks share."""

from __future__ import annotations

from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution without bias, padded to keep the size, then batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)


class NormConv(nn.Sequential):
    """Pre-activation: batch normalisation, ReLU, then a convolution without bias (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Residual shortcut: 1x1 projection where the shape changes, else the input itself."""
    return nn.Identity() if stride == 1 and inputs == outputs else ConvNorm(inputs, outputs, 1, stride)


def check_shape(tensor: Tensor, *shape: int) -> None:
    """Raise ValueError unless `tensor` is a batch of items of `shape`."""
    if tuple(tensor.shape[1:]) != shape:
        raise ValueError(f"expected a batch of {shape}, got {tuple(tensor.shape)}")
