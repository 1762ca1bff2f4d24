"""Generator: draws a frame from the identity map and one style vector (PC-AVS, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from model_server.networks.layers.blocks import check_shape
from model_server.networks.layers.modulation import StyledConv, ToRGB, upsample
from model_server.networks.pcavs.presets import MAP_SIZE

BENT_SIZE = 28
Bend = Callable[[Tensor], Tensor]


class Generator(nn.Module):
    """StyleGAN2-style skip generator that starts from the identity map instead of a learned constant.

    Args:
        channels: channels at 7, 14, 28, ... pixels.
        style: size of the style vector, which all layers share.
    """

    def __init__(self, channels: Sequence[int], style: int) -> None:
        super().__init__()
        self.input_shape = (channels[0], MAP_SIZE, MAP_SIZE)
        self.style_size = style
        self.first = StyledConv(channels[0], channels[0], style)
        self.first_rgb = ToRGB(channels[0], style)
        self.blocks = nn.ModuleList(
            [
                SynthesisBlock(inputs, outputs, style)
                for inputs, outputs in zip(channels[:-1], channels[1:], strict=True)
            ]
        )

    @property
    def noise_sizes(self) -> tuple[int, ...]:
        """Height (and width) of each noise map that `forward` wants, in order: 7, 14, 14, 28, 28, ..."""
        doubled = (MAP_SIZE * 2 ** (n + 1) for n in range(len(self.blocks)))
        return (MAP_SIZE, *(size for size in doubled for _ in range(2)))

    def forward(self, identity_map: Tensor, style: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Draw frames.

        Args:
            identity_map: (n, channels[0], 7, 7).
            style: (n, style): identity vector, mouth code, pose code.
            noise: one (1 or n, 1, size, size) map for each of `noise_sizes`, standard normal.

        Returns:
            RGB images in [-1, 1], (n, 3, 224, 224) for six widths in `channels`.
        """
        *_, (_, rgb) = self.synthesize(identity_map, style, noise)
        return torch.tanh(rgb)

    def synthesize(
        self, identity_map: Tensor, style: Tensor, noise: Sequence[Tensor], bend: Bend | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `forward`, but yields the features and the running, unbounded RGB at 7, 14, 28, ... pixels.

        This is where another head reads what the generator knows about the frame.

        Args:
            bend: moves features (n, c, 28, 28) and RGB to other places before they are made finer.
        """
        check_shape(identity_map, *self.input_shape)
        check_shape(style, self.style_size)
        x = self.first(identity_map, style, noise[0])
        rgb = self.first_rgb(x, style)
        yield x, rgb
        for block, first, second in zip(self.blocks, noise[1::2], noise[2::2], strict=True):
            x, rgb = block(x, rgb, style, first, second)
            if bend and x.shape[-1] == BENT_SIZE:
                x, rgb = bend(x), bend(rgb)
            yield x, rgb


class SynthesisBlock(nn.Module):
    """One doubling of the resolution: styled up-convolution, styled convolution, and RGB added to the running RGB."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.up = StyledConv(inputs, outputs, style, upsample=True)
        self.conv = StyledConv(outputs, outputs, style)
        self.to_rgb = ToRGB(outputs, style)

    def forward(
        self, x: Tensor, rgb: Tensor, style: Tensor, first_noise: Tensor, second_noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map features (n, inputs, h, w) and RGB (n, 3, h, w) to those of twice the height and width."""
        x = self.conv(self.up(x, style, first_noise), style, second_noise)
        return x, self.to_rgb(x, style) + upsample(rgb)
