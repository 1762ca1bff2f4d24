"""Identity encoder: who speaks, as one vector and one low-resolution feature map (PC-AVS, section 3.1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.layers.blocks import ConvNorm, check_shape, shortcut
from model_server.networks.pcavs.presets import IMAGE_SIZE, MAP_SIZE, IdentityWidths

BLOCKS = (3, 4, 6, 3)


class IdentityEncoder(nn.Module):
    """ResNeXt-50 (Xie et al. 2017) whose last map is read twice: averaged, and through a 1x1 convolution.

    Args:
        widths: channels of the ResNeXt.
        map_channels: channels of the identity map, the generator's first width.
    """

    def __init__(self, widths: IdentityWidths, map_channels: int) -> None:
        super().__init__()
        inputs = (widths.stem, *(2 * width for width in widths.stages))
        self.stem = ConvNorm(3, widths.stem, 7, stride=2)
        self.stages = nn.Sequential(
            *(
                _stage(inputs[n], width, widths.groups, BLOCKS[n], stride=1 if n == 0 else 2)
                for n, width in enumerate(widths.stages)
            )
        )
        self.map_head = nn.Conv2d(inputs[-1], map_channels, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode RGB images (n, 3, 224, 224) in [-1, 1].

        Returns:
            Identity vectors (n, identity size) and identity maps (n, map channels, 7, 7).
        """
        check_shape(images, 3, IMAGE_SIZE, IMAGE_SIZE)
        x = F.max_pool2d(F.relu(self.stem(images)), 3, stride=2, padding=1)
        x = self.stages(x)
        return x.mean((2, 3)), F.adaptive_avg_pool2d(self.map_head(x), MAP_SIZE)


class Bottleneck(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions around a residual shortcut; twice as many channels out as inside."""

    def __init__(self, inputs: int, width: int, groups: int, stride: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(inputs, width, 1)
        self.grouped = ConvNorm(width, width, 3, stride, groups)
        self.expand = ConvNorm(width, 2 * width, 1)
        self.shortcut = shortcut(inputs, 2 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, 2 * width, h / stride, w / stride)."""
        y = F.relu(self.reduce(x))
        y = F.relu(self.grouped(y))
        return F.relu(self.expand(y) + self.shortcut(x))


def _stage(inputs: int, width: int, groups: int, count: int, stride: int) -> nn.Sequential:
    first = Bottleneck(inputs, width, groups, stride)
    return nn.Sequential(first, *(Bottleneck(2 * width, width, groups, 1) for _ in range(count - 1)))
