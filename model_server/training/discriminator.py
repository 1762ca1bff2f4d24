"""Multi-scale patch discriminator (pix2pixHD, Wang et al. 2018), with spectral and instance normalisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SCALES = 2
LAYERS = 4


class Discriminator(nn.Module):
    """The same patch classifier at full and at half resolution.

    Args:
        width: channels after the first layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList([PatchClassifier(width) for _ in range(SCALES)])

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Judge (n, 3, h, w) in [-1, 1].

        Returns:
            Per scale, the patch scores (n, 1, a, b), and the features of all layers, the picture itself among them.
        """
        features: list[list[Tensor]] = []
        for scale in self.scales:
            features.append(scale(images))
            images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
        return [scale[-1] for scale in features], [scale[:-1] for scale in features]


class PatchClassifier(nn.Module):
    """Four 4x4 convolutions, the first three of stride 2, then one to a score per patch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [3, *(width * min(2**n, 8) for n in range(LAYERS))]
        layers = [
            _layer(inputs, outputs, stride=2 if n < LAYERS - 1 else 1, norm=n > 0)
            for n, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True))
        ]
        self.layers = nn.ModuleList([*layers, nn.Conv2d(widths[-1], 1, 4, padding=2)])

    def forward(self, images: Tensor) -> list[Tensor]:
        """The images, the features of each layer, and the scores."""
        features = [images]
        for layer in self.layers:
            features.append(layer(features[-1]))
        return features


def _layer(inputs: int, outputs: int, stride: int, norm: bool) -> nn.Sequential:
    conv = spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, padding=2))
    between = [nn.InstanceNorm2d(outputs)] if norm else []
    return nn.Sequential(conv, *between, nn.LeakyReLU(0.2))
