"""Diff-AE's semantic encoder: from a picture to its latent c."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.dae_talker.blocks import GroupNorm, PlainBlock, conv3
from model_server.networks.dae_talker.levels import DownLevel, Middle
from model_server.networks.layers.blocks import check_shape


@dataclass(frozen=True)
class SemanticEncoderSize:
    """Sizes of a semantic encoder; see `UNetSize` for their meaning."""

    resolution: int
    width: int
    multipliers: tuple[int, ...]
    channels: int = 3
    blocks: int = 2
    attention: tuple[int, ...] = (16,)
    latent: int = 512

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.width * multiplier for multiplier in self.multipliers)


class SemanticEncoder(nn.Module):
    """The U-Net's way down without time, its middle, the mean over all places, and a linear layer."""

    def __init__(self, size: SemanticEncoderSize) -> None:
        super().__init__()
        self.size = size
        widths = (size.width, *size.widths)
        self.entry = conv3(size.channels, size.width)
        self.down = nn.ModuleList(
            DownLevel(
                inputs, outputs, size.blocks, PlainBlock,
                attention=size.resolution >> level in size.attention, shrink=level < len(size.widths) - 1,
            )
            for level, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False))
        )  # fmt: skip
        self.middle = Middle(widths[-1], PlainBlock)
        self.norm = GroupNorm(widths[-1])
        self.out = nn.Linear(widths[-1], size.latent)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, channels, h, w), pixels in -1 to 1, to latents (n, latent), unbounded."""
        check_shape(pictures, self.size.channels, self.size.resolution, self.size.resolution)
        x = self.entry(pictures)
        for down in self.down:
            x = down(x)[-1]
        return self.out(F.silu(self.norm(self.middle(x))).mean((2, 3)))
