"""Networks as inference runs them: the same sums, with everything that no frame changes worked out beforehand.

Modulation, demodulation, gain, noise and bias of a styled layer become one scale before and one scale and sum after a
plain convolution, whose weights are scaled and whose demodulation table is summed once per weights file. On a
processor large convolutions go through Winograd's algorithm, or in half precision through its matrix instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model_server.networks.cpu import bf16, winograd
from model_server.networks.cpu.epilogue import Finish, Modulated
from model_server.networks.layers.blocks import ConvNorm
from model_server.networks.layers.modulation import EPSILON, GAIN, ModulatedConv, StyledConv, ToRGB, blur, smoothing
from model_server.networks.pcavs.model import Networks
from model_server.networks.pcavs.optimized_encoders import OPTIMIZED, OptimizedTrunk, PointwiseConv, constant

_SLOPE = 0.2
_POINTWISE = ((1, 1), (1, 1), 1)


def optimize(networks: Networks) -> Networks:
    """Replace layers by what inference needs of them; pictures stay the same but for rounding.

    Args:
        networks: in evaluation mode, on their device; they cannot be trained afterwards.
    """
    encoder = networks.nonidentity_encoder
    encoder.trunk = OptimizedTrunk(encoder.trunk)  # type: ignore[assignment]
    once = set(networks.identity_encoder.modules())
    for module in list(networks.modules()):
        if type(module) is ConvNorm and module in once:  # the normalisation follows at once
            module.conv, module.norm = fuse_conv_bn_eval(module.conv, module.norm), nn.Identity()  # type: ignore[assignment]
        for name, child in list(module.named_children()):
            if made := _optimized(child, networks.preset.identity_size, module in once):
                setattr(module, name, made)
    return networks


def _optimized(layer: nn.Module, identity: int, once: bool) -> nn.Module | None:
    """What takes a layer's place, if anything.

    Args:
        identity: size of the identity vector.
        once: whether it runs only once in a dub, so that packing its weights would not pay.
    """
    if isinstance(layer, StyledConv) and isinstance(layer.conv, ModulatedConv):
        return OptimizedStyledConv(layer, identity)
    if isinstance(layer, ToRGB):
        return OptimizedToRGB(layer, identity)
    if isinstance(layer, nn.Conv2d) and once:
        pointwise = (layer.kernel_size, layer.stride, layer.groups) == _POINTWISE
        return PointwiseConv(layer) if pointwise else None
    for kind, preparing in OPTIMIZED.items():
        if isinstance(layer, kind):
            return preparing(layer)
    return None


class OptimizedModulation(nn.Module):
    """Scales of a layer's input channels, the layer's own weight scale included.

    What the identity gives to them, four fifths of the sum, is remembered: it is the same throughout a clip.

    Args:
        identity: size of the identity vector, with which a style begins.
    """

    def __init__(self, conv: ModulatedConv, identity: int) -> None:
        super().__init__()
        linear = conv.modulation
        weight = linear.weight * (linear.scale * conv.scale)
        self.identity = identity
        self.of_identity, self.of_codes = (constant(part) for part in weight.tensor_split([identity], 1))
        self.bias = constant(linear.bias * conv.scale)
        self._known: tuple[Tensor, Tensor] = linear.bias.new_empty(0), self.bias

    def forward(self, style: Tensor) -> Tensor:
        """Map styles (n, style) to scales (n, inputs)."""
        identity, codes = style.tensor_split([self.identity], 1)
        # To compare would make a GPU wait, which sums as fast as it remembers.
        known = self._by(identity) if style.is_cpu else F.linear(identity, self.of_identity, self.bias)
        return torch.addmm(known, codes, self.of_codes.T)

    def _by(self, identities: Tensor) -> Tensor:
        """What identities (n, identity) give, with the bias: (n, inputs), or (1, inputs) when all are the same."""
        known, scales = self._known
        first = identities[:1]
        if not torch.equal(first.expand_as(identities), identities):
            return F.linear(identities, self.of_identity, self.bias)
        if not torch.equal(known, first):
            scales = F.linear(first, self.of_identity, self.bias)
            self._known = first.clone(), scales
        return scales


class OptimizedStyledConv(nn.Module):
    """`StyledConv`, its demodulation table summed and its gain multiplied in."""

    def __init__(self, layer: StyledConv, identity: int) -> None:
        super().__init__()
        conv = layer.conv
        self.modulation = OptimizedModulation(conv, identity)
        self.upsample = conv.upsample
        # A transposed convolution takes inputs first.
        self.weight = constant(conv.weight.transpose(0, 1) if conv.upsample else conv.weight)
        self.energy = constant(conv.weight.square().sum((2, 3)) / GAIN**2)
        self.smoothing = constant(smoothing(layer.bias[None, :, None, None]))
        self.noise_strength = constant(layer.noise_strength * GAIN)
        self.bias = constant(layer.bias * GAIN)
        self._strong_noise, self._biased_noise = _Remembered(), _Remembered()

    @cached_property
    def _by_winograd(self) -> winograd.Convolution | winograd.TransposedConvolution:
        return (winograd.TransposedConvolution if self.upsample else winograd.Convolution)(self.weight)

    @cached_property
    def _in_half(self) -> bf16.Convolution | bf16.TransposedConvolution:
        return (bf16.TransposedConvolution if self.upsample else bf16.Convolution)(self.weight)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """As `StyledConv.forward`."""
        scales, gains = self._scales_and_gains(style)
        if len(noise) == 1 and (fast := self._fast(x)):
            return fast(x, Modulated(scales), Finish(gains, self.bias, self._strong(noise), _SLOPE))
        y = self._convolved(x * scales.to(x.dtype)[..., None, None])
        term, gains = (part.to(y.dtype) for part in (self._strong_and_biased(noise), gains))
        return F.leaky_relu_(torch.addcmul(term, y, gains[..., None, None]), _SLOPE)

    def _scales_and_gains(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """Before and after the convolution; they need more digits than half precision has."""
        with torch.autocast(style.device.type, enabled=False):
            scales = self.modulation(style.float())
            return scales, torch.rsqrt(F.linear(scales.square(), self.energy) + EPSILON / GAIN**2)

    def _fast(self, x: Tensor) -> Callable[[Tensor, Modulated, Finish], Tensor] | None:
        """A faster way than the library's plain convolution, where there is one."""
        if bf16.fits(x, len(self.bias)):
            return self._in_half
        return self._by_winograd if winograd.pays(x, len(self.bias)) else None

    def _convolved(self, x: Tensor) -> Tensor:
        if self.upsample:
            return blur(F.conv_transpose2d(x, self.weight, stride=2), self.smoothing)
        return F.conv2d(x, self.weight, padding=1)

    def _strong(self, noise: Tensor) -> Tensor:
        """Noise (1, 1, h, w) times its strength, (h, w)."""
        return self._strong_noise.of(noise, lambda: (noise * self.noise_strength)[0, 0].contiguous())

    def _strong_and_biased(self, noise: Tensor) -> Tensor:
        """The same plus bias, (1 or n, outputs, h, w)."""

        def make() -> Tensor:
            term = noise * self.noise_strength + self.bias[:, None, None]
            return term.contiguous(memory_format=torch.channels_last)

        return self._biased_noise.of(noise, make)


class _Remembered:
    """What the last tensor gave; of the same one always the same is made."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor] | None = None

    def of(self, source: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """What was made of `source`, or `make()`."""
        if source.is_cuda:  # a recorded drawing finds other values in the same place
            return make()
        last = self._last
        if last is None or last[0] is not source:
            last = self._last = source, make()
        return last[1]


class OptimizedToRGB(nn.Module):
    """`ToRGB` as one product of each picture's pixels with weights of its own."""

    def __init__(self, layer: ToRGB, identity: int) -> None:
        super().__init__()
        self.modulation = OptimizedModulation(layer.conv, identity)
        self.weight = constant(layer.conv.weight[:, :, 0, 0])
        self.bias = constant(layer.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """As `ToRGB.forward`; in half precision what it gives is still float32."""
        with torch.autocast(style.device.type, enabled=False):
            weights = self.modulation(style.float())[:, :, None] * self.weight.T
        if bf16.fits(x, bf16.LANES):
            return bf16.to_rgb(x, weights.transpose(1, 2), self.bias)
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        rgb = torch.baddbmm(self.bias.to(pixels.dtype), pixels, weights)
        return rgb.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
