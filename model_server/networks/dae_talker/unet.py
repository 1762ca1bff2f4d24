"""The conditional U-Net of Diff-AE (Preechakul et al. 2022), in pixels, in patches of pixels, or in latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.dae_talker.blocks import (
    ConditionedBlock,
    GroupNorm,
    Resampling,
    TimeAndLatentNorm,
    TimeEmbedding,
    conv3,
    zeroed,
)
from model_server.networks.dae_talker.levels import DownLevel, Middle, UpLevel
from model_server.networks.layers.blocks import check_shape


@dataclass(frozen=True)
class UNetSize:
    """Sizes of a U-Net.

    Attributes:
        resolution: height and width of the pictures.
        width: channels of the first level.
        multipliers: channels of each level, in widths.
        channels: of the pictures.
        blocks: residual blocks of a level on the way down; one more on the way up.
        attention: resolutions, after patching, with attention.
        patch: side of the squares of pixels that are one place's channels. Our choice where above 1 (space-to-depth,
            after Luhman and Luhman 2022, "Improving diffusion model efficiency through patching").
        refinement: channels of two convolutions at full resolution that smooth the patches' edges, 0 for none. Our
            choice, as patches show as a grid otherwise.
        latent: numbers of c.
        embedding: numbers of the time embedding.
        dropout: share dropped while training.
    """

    resolution: int
    width: int
    multipliers: tuple[int, ...]
    channels: int = 3
    blocks: int = 2
    attention: tuple[int, ...] = (16,)
    patch: int = 1
    refinement: int = 0
    latent: int = 512
    embedding: int = 512
    dropout: float = 0.1

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.width * multiplier for multiplier in self.multipliers)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Height and width of each level."""
        return tuple(self.resolution // self.patch >> level for level in range(len(self.multipliers)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one picture, channels first."""
        return self.channels, self.resolution, self.resolution


class UNet(nn.Module):
    """Tells noise from picture, given how much noise there is and the picture's latent c."""

    def __init__(self, size: UNetSize) -> None:
        super().__init__()
        if size.resolution % (size.patch << len(size.multipliers) - 1):
            raise ValueError(f"{size.resolution} pixels cannot be halved on {len(size.multipliers)} levels")
        self.size = size
        widths, last = size.widths, len(size.widths) - 1
        self.time = TimeEmbedding(size.width, size.embedding)
        self.entry = conv3(size.channels * size.patch**2, size.width)
        self.down = nn.ModuleList(self._down(level) for level in range(last + 1))
        self.middle = Middle(widths[-1], self._block)
        self.up = nn.ModuleList(self._up(level) for level in range(last, -1, -1))
        self.out = PictureHead(size.widths[0], size.channels, size.patch, size.refinement)

    def forward(self, noisy: Tensor, times: Tensor, latent: Tensor) -> Tensor:
        """Predict from noisy pictures (n, channels, h, w), times (n,) and latents (n, latent): (n, channels, h, w).

        Args:
            times: indices of the full schedule, 0 to 999, also where a sampler skips some.
        """
        check_shape(noisy, *self.size.shape)
        check_shape(latent, self.size.latent)
        conditions = self.time(times), latent
        x = self.entry(F.pixel_unshuffle(noisy, self.size.patch))
        joining = [x]
        for down in self.down:
            joining += down(joining[-1], *conditions)
        x = self.middle(joining[-1], *conditions)
        for up in self.up:
            x = up(x, joining, *conditions)
        return self.out(x)

    def _block(self, inputs: int, outputs: int, resampling: Resampling | None) -> nn.Module:
        norm = TimeAndLatentNorm(outputs, self.size.embedding, self.size.latent)
        return ConditionedBlock(inputs, outputs, norm, self.size.dropout, resampling)

    def _down(self, level: int) -> DownLevel:
        size = self.size
        inputs, outputs = (size.width, *size.widths)[level : level + 2]
        attention = size.resolutions[level] in size.attention
        return DownLevel(inputs, outputs, size.blocks, self._block, attention, level < len(size.widths) - 1)

    def _up(self, level: int) -> UpLevel:
        """Joined by all that the way down made at its resolution, the latest first."""
        size = self.size
        above, outputs = (size.width, *size.widths)[level : level + 2]
        inputs = (*size.widths, size.widths[-1])[level + 1]
        joined = [*size.blocks * [outputs], above]
        return UpLevel(inputs, outputs, joined, self._block, size.resolutions[level] in size.attention, level > 0)


class PictureHead(nn.Module):
    """Norm, SiLU and a convolution that starts at zero; patches laid out as pixels and smoothed.

    Args:
        inputs: channels in.
        channels: of the pictures.
        patch: see `UNetSize`, as for `refinement`.
    """

    def __init__(self, inputs: int, channels: int, patch: int = 1, refinement: int = 0) -> None:
        super().__init__()
        self.patch = patch
        self.norm = GroupNorm(inputs)
        self.conv = zeroed(conv3(inputs, channels * patch**2))
        self.refinement = _Refinement(channels, refinement) if refinement else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, channels, patch * h, patch * w)."""
        return self.refinement(F.pixel_shuffle(self.conv(F.silu(self.norm(x))), self.patch))


class _Refinement(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.entry = conv3(channels, width)
        self.out = zeroed(conv3(width, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(F.silu(self.entry(x)))
