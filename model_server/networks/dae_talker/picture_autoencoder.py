"""A small convolutional autoencoder in whose latents processors can diffuse; our departure from DAE-Talker.

After latent diffusion (Rombach et al. 2022), but without chance: an actor's frames are alike, and the statistics of
their latents are simply stored. Its blocks are those of the semantic encoder; 2x2 pixels are one place's channels, as
half of the time would go to the full resolution otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.dae_talker.blocks import GroupNorm, PlainBlock, conv3
from model_server.networks.dae_talker.levels import DownLevel, UpLevel
from model_server.networks.dae_talker.unet import PictureHead
from model_server.networks.layers.blocks import check_shape


@dataclass(frozen=True)
class PictureAutoencoderSize:
    """Sizes of a picture autoencoder.

    Attributes:
        resolution: height and width of the pictures.
        widths: channels of each level; each but the last halves the resolution.
        channels: of the latents.
        blocks: residual blocks of a level, down and up.
        patch: side of the squares of pixels that the first level reads and the last writes.
        refinement: channels of two convolutions at full resolution that smooth the patches' edges.
    """

    resolution: int = 128
    widths: tuple[int, ...] = (48, 96, 192)
    channels: int = 8
    blocks: int = 2
    patch: int = 2
    refinement: int = 16

    @property
    def latent_resolution(self) -> int:
        """Height and width of the latents."""
        return self.resolution // self.patch >> len(self.widths) - 1


class PictureAutoencoder(nn.Module):
    """Pictures to latents with mean 0 and deviation 1 over the training frames, and back."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: PictureAutoencoderSize) -> None:
        super().__init__()
        self.size = size
        self.encoder = _Encoder(size)
        self.decoder = _Decoder(size)
        self.register_buffer("mean", torch.zeros(size.channels, 1, 1))
        self.register_buffer("deviation", torch.ones(size.channels, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 3, h, w) through the latents, for its training."""
        return self.decoder(self.encoder(pictures))

    def encode(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, h, w), pixels in -1 to 1, to latents (n, channels, latent height, latent width)."""
        return (self.encoder(pictures) - self.mean) / self.deviation

    def decode(self, latents: Tensor) -> Tensor:
        """Map latents to pictures (n, 3, h, w), about -1 to 1, not cut."""
        return self.decoder(latents * self.deviation + self.mean)

    @torch.no_grad()
    def standardize(self, pictures: Tensor) -> None:
        """Store the latents' mean and deviation over many training frames (n, 3, h, w), once trained."""
        latents = self.encoder(pictures)
        self.mean.copy_(latents.mean((0, 2, 3))[:, None, None])
        self.deviation.copy_(latents.std((0, 2, 3)).clamp(min=1e-6)[:, None, None])


class _Encoder(nn.Module):
    def __init__(self, size: PictureAutoencoderSize) -> None:
        super().__init__()
        self.shape, self.patch = (3, size.resolution, size.resolution), size.patch
        widths = (size.widths[0], *size.widths)
        self.entry = conv3(3 * size.patch**2, widths[0])
        self.down = nn.ModuleList(
            DownLevel(a, b, size.blocks, PlainBlock, attention=False, shrink=level < len(size.widths) - 1)
            for level, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        )
        self.norm = GroupNorm(widths[-1])
        self.out = conv3(widths[-1], size.channels)

    def forward(self, pictures: Tensor) -> Tensor:
        check_shape(pictures, *self.shape)
        x = self.entry(F.pixel_unshuffle(pictures, self.patch))
        for down in self.down:
            x = down(x)[-1]
        return self.out(F.silu(self.norm(x)))


class _Decoder(nn.Module):
    def __init__(self, size: PictureAutoencoderSize) -> None:
        super().__init__()
        self.shape = (size.channels, size.latent_resolution, size.latent_resolution)
        widths = (size.widths[-1], *reversed(size.widths))
        self.entry = conv3(size.channels, widths[0])
        self.up = nn.ModuleList(
            UpLevel(a, b, size.blocks * [0], PlainBlock, attention=False, grow=level < len(size.widths) - 1)
            for level, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        )
        self.out = PictureHead(widths[-1], 3, size.patch, size.refinement)

    def forward(self, latents: Tensor) -> Tensor:
        check_shape(latents, *self.shape)
        x = self.entry(latents)
        for up in self.up:
            x = up(x, [])
        return self.out(x)
