"""One evaluation in place of a sampler's many: for one fixed x_T the rendered picture depends on c alone.

Our choice, as the paper renders in 100 steps. Distillation of a deterministic sampler (Luhman and Luhman 2021,
"Knowledge distillation in iterative generative models") with the noise held fixed, so that the U-Net's way down would
say always the same; a learned constant (Karras et al. 2019) stands in for it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_server.networks.dae_talker.blocks import ConditionedBlock, LatentNorm, Resampling
from model_server.networks.dae_talker.levels import Middle, UpLevel
from model_server.networks.dae_talker.unet import PictureHead, UNetSize
from model_server.networks.layers.blocks import check_shape


class StudentDecoder(nn.Module):
    """From c straight to the picture: a learned constant, then the way up of a U-Net of that size without time.

    Args:
        size: of the teacher, or of a smaller network with the same pictures and latents.
    """

    def __init__(self, size: UNetSize) -> None:
        super().__init__()
        self.size = size
        widths, lowest = size.widths, size.resolutions[-1]
        self.constant = nn.Parameter(torch.randn(1, widths[-1], lowest, lowest))
        self.middle = Middle(widths[-1], self._block)
        self.up = nn.ModuleList(self._up(level) for level in range(len(widths) - 1, -1, -1))
        self.out = PictureHead(widths[0], size.channels, size.patch, size.refinement)

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (n, latent) to pictures (n, channels, h, w), not cut to their limits."""
        check_shape(latent, self.size.latent)
        x = self.middle(self.constant.expand(len(latent), -1, -1, -1), latent)
        for up in self.up:
            x = up(x, [], latent)
        return self.out(x)

    def _block(self, inputs: int, outputs: int, resampling: Resampling | None) -> nn.Module:
        # No dropout: it has one right answer for each latent.
        return ConditionedBlock(inputs, outputs, LatentNorm(outputs, self.size.latent), 0.0, resampling)

    def _up(self, level: int) -> UpLevel:
        size = self.size
        inputs = (*size.widths, size.widths[-1])[level + 1]
        attention = size.resolutions[level] in size.attention
        return UpLevel(inputs, size.widths[level], size.blocks * [0], self._block, attention, level > 0)
