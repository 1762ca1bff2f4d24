"""Blocks of the diffusion autoencoder: group norms that heed conditions, residual blocks, attention over a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Resampling = Literal["up", "down"]
# Makes a residual block of so many channels in and out that resamples on its way, or doesn't.
BlockFactory = Callable[[int, int, Resampling | None], nn.Module]

_GROUPS = 32
_LONGEST_PERIOD = 10000.0  # of the time embedding's waves, in steps of noise


class GroupNorm(nn.GroupNorm):
    """Group norm in 32 groups as published, computed in fp32.

    Fewer where a group would have one channel, as of the published sizes none has: our choice, since norms of single
    channels hide a picture's brightness and colour from small networks.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(_GROUPS, channels // 2), channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same."""
        weight, bias = self.weight.float(), self.bias.float()
        return F.group_norm(x.float(), self.num_groups, weight, bias, self.eps).to(x.dtype)


class TimeAndLatentNorm(nn.Module):
    """AdaGN of Diff-AE (section 3): group norm, scale and shift by the time, then scale alone by the latent.

    Args:
        channels: of the picture.
        embedding: numbers of the time embedding.
        latent: numbers of the latent c.
    """

    def __init__(self, channels: int, embedding: int, latent: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels)
        self.time = nn.Linear(embedding, 2 * channels)
        self.latent = nn.Linear(latent, channels)

    def forward(self, x: Tensor, time: Tensor, latent: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same, given time embeddings (n, embedding) and latents (n, latent)."""
        scale, shift = self.time(F.silu(time))[..., None, None].chunk(2, 1)
        x = self.norm(x) * (1 + scale) + shift
        return x * (1 + self.latent(F.silu(latent))[..., None, None])


class LatentNorm(nn.Module):
    """AdaGN with the latent alone. Our choice: it shifts, too, as nothing else does (FiLM, Perez et al. 2018)."""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels)
        self.latent = nn.Linear(latent, 2 * channels)

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same, given latents (n, latent)."""
        scale, shift = self.latent(F.silu(latent))[..., None, None].chunk(2, 1)
        return self.norm(x) * (1 + scale) + shift


class ConditionedBlock(nn.Module):
    """Residual block whose second norm heeds conditions and whose second convolution starts at zero.

    Args:
        inputs: channels in.
        outputs: channels out.
        norm: of `outputs` channels, called with the picture and the conditions.
        dropout: share dropped while training.
        resampling: doubles or halves the picture in both ways, before the first convolution.
    """

    def __init__(
        self, inputs: int, outputs: int, norm: nn.Module, dropout: float, resampling: Resampling | None = None
    ) -> None:
        super().__init__()
        self.entry_norm = GroupNorm(inputs)
        self.entry = conv3(inputs, outputs)
        self.norm = norm
        self.dropout = nn.Dropout(dropout)
        self.out = zeroed(conv3(outputs, outputs))
        self.skip = _skip(inputs, outputs)
        self.resample = _resample(resampling)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w), twice or half as large if resampled."""
        y = self.entry(self.resample(F.silu(self.entry_norm(x))))
        y = self.out(self.dropout(F.silu(self.norm(y, *conditions))))
        return self.skip(self.resample(x)) + y


class PlainBlock(nn.Module):
    """Residual block without conditions: Diff-AE's has one convolution only."""

    def __init__(self, inputs: int, outputs: int, resampling: Resampling | None = None) -> None:
        super().__init__()
        self.norm = GroupNorm(inputs)
        self.conv = conv3(inputs, outputs)
        self.skip = _skip(inputs, outputs)
        self.resample = _resample(resampling)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w), twice or half as large if resampled."""
        return self.skip(self.resample(x)) + self.conv(self.resample(F.silu(self.norm(x))))


class Attention(nn.Module):
    """Residual self-attention of one head over all places of a picture; it adds nothing at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels)
        self.inputs = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same."""
        q, k, v = self.inputs(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, -1)
        heard = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.out(heard.transpose(1, 2).view_as(x))


class TimeEmbedding(nn.Module):
    """Waves of the noise step's index, cosines first, through two linear layers."""

    def __init__(self, waves: int, embedding: int) -> None:
        super().__init__()
        self.waves = waves
        self.layers = nn.Sequential(nn.Linear(waves, embedding), nn.SiLU(), nn.Linear(embedding, embedding))

    def forward(self, times: Tensor) -> Tensor:
        """Embed indices (n,) of the full schedule, 0 to 999, as (n, embedding)."""
        return self.layers(time_waves(times, self.waves).to(next(self.parameters()).dtype))


def time_waves(times: Tensor, count: int) -> Tensor:
    """Half as many cosines of times (n,) as there are waves (n, count), from fast to slow, then their sines."""
    half = count // 2
    speeds = torch.exp(torch.arange(half, device=times.device) * (-math.log(_LONGEST_PERIOD) / half))
    angles = times[:, None].float() * speeds
    return torch.cat([angles.cos(), angles.sin()], -1)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution, at zero."""
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def _skip(inputs: int, outputs: int) -> nn.Module:
    return nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)


def _resample(resampling: Resampling | None) -> nn.Module:
    if resampling is None:
        return nn.Identity()
    return nn.Upsample(scale_factor=2, mode="nearest") if resampling == "up" else nn.AvgPool2d(2)
