"""Networks as inference runs them: the same sums, with everything that no frame changes worked out beforehand.

Modulation, demodulation, gain, noise and bias of a styled layer become one scale before and one scale and sum after a
plain convolution, whose weights are scaled and whose demodulation table is summed once per weights file. On a
processor large convolutions go through Winograd's algorithm, and where a layer has fewer weights than pixels, the
weights are scaled instead of the pixels.
"""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model_server.networks import winograd
from model_server.networks.assembly import Networks
from model_server.networks.blocks import ConvNorm, NormConv
from model_server.networks.modulation import EPSILON, GAIN, ModulatedConv, StyledConv, ToRGB, blur, smoothing
from model_server.networks.nonidentity_encoder import FaceAlignmentTrunk

_SLOPE = 0.2
_NORMS = ("stem", "bridge", "landmarks")


def prepare(networks: Networks) -> Networks:
    """Replace layers by what inference needs of them; pictures stay the same but for rounding.

    Args:
        networks: in evaluation mode, on their device; they cannot be trained afterwards.
    """
    for module in list(networks.modules()):
        _fold_norms(module)
        for name, child in list(module.named_children()):
            if isinstance(child, StyledConv) and isinstance(child.conv, ModulatedConv):
                setattr(module, name, PreparedStyledConv(child))
            elif isinstance(child, ToRGB):
                setattr(module, name, PreparedToRGB(child))
            elif isinstance(child, NormConv) and child.conv.kernel_size == (3, 3):
                child.conv = PreparedConv(child.conv)  # type: ignore[assignment]
    return networks


def _fold_norms(module: nn.Module) -> None:
    """Multiply batch normalisations that follow a convolution at once into its weights."""
    if type(module) is ConvNorm:
        module.conv, module.norm = fuse_conv_bn_eval(module.conv, module.norm), nn.Identity()  # type: ignore[assignment]
    if isinstance(module, FaceAlignmentTrunk):
        for name in _NORMS:
            fused = fuse_conv_bn_eval(getattr(module, name), getattr(module, f"{name}_norm"))
            setattr(module, name, fused)
            setattr(module, f"{name}_norm", nn.Identity())


class PreparedConv(nn.Module):
    """3x3 convolution without bias, size kept, through Winograd's algorithm where that pays."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = _constant(conv.weight)
        self.no_scales = _constant(conv.weight.new_ones(conv.in_channels))

    @cached_property
    def _by_winograd(self) -> winograd.Convolution:
        return winograd.Convolution(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w)."""
        if not winograd.pays(x):
            return F.conv2d(x, self.weight, padding=1)
        return torch.cat([self._by_winograd(one, self.no_scales) for one in x.split(1)])


class PreparedModulation(nn.Module):
    """Scales of a layer's input channels, the layer's own weight scale included."""

    def __init__(self, conv: ModulatedConv) -> None:
        super().__init__()
        linear = conv.modulation
        self.weight = _constant(linear.weight * (linear.scale * conv.scale))
        self.bias = _constant(linear.bias * conv.scale)

    def forward(self, style: Tensor) -> Tensor:
        """Map styles (n, style) to scales (n, inputs)."""
        return F.linear(style, self.weight, self.bias)


class PreparedStyledConv(nn.Module):
    """`StyledConv`, its demodulation table summed and its gain multiplied in."""

    def __init__(self, layer: StyledConv) -> None:
        super().__init__()
        conv = layer.conv
        self.modulation = PreparedModulation(conv)
        self.upsample = conv.upsample
        # A transposed convolution takes inputs first.
        self.weight = _constant(conv.weight.transpose(0, 1) if conv.upsample else conv.weight)
        self.energy = _constant(conv.weight.square().sum((2, 3)) / GAIN**2)
        self.smoothing = _constant(smoothing(layer.bias[None, :, None, None]))
        self.noise_strength = _constant(layer.noise_strength * GAIN)
        self.bias = _constant(layer.bias * GAIN)
        self._term: tuple[Tensor | None, Tensor] = None, self.bias

    @cached_property
    def _same_size(self) -> winograd.Convolution:
        return winograd.Convolution(self.weight)

    @cached_property
    def _twice_the_size(self) -> winograd.TransposedConvolution:
        return winograd.TransposedConvolution(self.weight)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """As `StyledConv.forward`."""
        scales = self.modulation(style)
        gains = torch.rsqrt(F.linear(scales.square(), self.energy) + EPSILON / GAIN**2)
        term = self._noise_and_bias(noise)
        if len(x) == 1 and winograd.pays(x):
            return self._by_winograd(x, scales[0], gains[0], term)
        if len(x) == 1 and self.weight.numel() < x.numel():
            y = self._convolved(x, self._weight_of(scales[0], gains[0])).add_(term)
        else:
            y = torch.addcmul(term, self._convolved(x * scales[..., None, None], self.weight), gains[..., None, None])
        return F.leaky_relu_(y, _SLOPE)

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.upsample:
            return blur(F.conv_transpose2d(x, weight, stride=2), self.smoothing)
        return F.conv2d(x, weight, padding=1)

    def _by_winograd(self, x: Tensor, scales: Tensor, gains: Tensor, term: Tensor) -> Tensor:
        if self.upsample:
            y = blur(self._twice_the_size(x, scales), self.smoothing)
            return F.leaky_relu_(torch.addcmul(term, y, gains[:, None, None]), _SLOPE)
        added = winograd.in_tiles(term)

        def finish(made: Tensor, rows: slice, result: Tensor) -> None:
            F.leaky_relu_(torch.addcmul(added[rows], made, gains, out=result), _SLOPE)

        return self._same_size(x, scales, finish)

    def _weight_of(self, scales: Tensor, gains: Tensor) -> Tensor:
        """The weights of one picture."""
        first, second = (scales, gains) if self.upsample else (gains, scales)
        return self.weight * first[:, None, None, None] * second[:, None, None]

    def _noise_and_bias(self, noise: Tensor) -> Tensor:
        """What is added to every frame, (1 or n, outputs, h, w); remembered for the last noise."""
        known, term = self._term
        if known is not noise:
            term = noise * self.noise_strength + self.bias[:, None, None]
            self._term = noise, term = noise, term.contiguous(memory_format=torch.channels_last)
        return term


class PreparedToRGB(nn.Module):
    """`ToRGB` as one product of each picture's pixels with weights of its own."""

    def __init__(self, layer: ToRGB) -> None:
        super().__init__()
        self.modulation = PreparedModulation(layer.conv)
        self.weight = _constant(layer.conv.weight[:, :, 0, 0])
        self.bias = _constant(layer.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """As `ToRGB.forward`."""
        weights = self.modulation(style)[:, :, None] * self.weight.T
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        rgb = torch.baddbmm(self.bias.to(pixels.dtype), pixels, weights)
        return rgb.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


def _constant(values: Tensor) -> nn.Parameter:
    """Values that belong to the module but are not trained."""
    layout = torch.channels_last if values.ndim == 4 else torch.contiguous_format
    return nn.Parameter(values.detach().contiguous(memory_format=layout), requires_grad=False)
