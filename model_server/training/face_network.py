"""Our own face network: its features measure how alike two pictures look, and it reads labels off them."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from model_server.features import CROP_SIDE as IMAGE_SIZE
from model_server.networks.layers.blocks import ConvNorm

LANDMARKS = 68
VISEMES = 17
ANGLE_UNIT = 30.0  # degrees that read-outs call 1
EMBEDDING = 128


@dataclass(frozen=True)
class FaceReading:
    """What the face network says of pictures.

    Attributes:
        features: maps of growing depth, the perceptual space.
        embedding: (n, 128) of the person.
        landmarks: (n, 68, 2) in view pixels.
        angles: (n, 3) in units of 30 degrees.
        opening: (n,) lip opening over inter-ocular distance.
        visemes: (n, 17) logits.
    """

    features: tuple[Tensor, ...]
    embedding: Tensor
    landmarks: Tensor
    angles: Tensor
    opening: Tensor
    visemes: Tensor


class FaceNetwork(nn.Module):
    """Plain convolutional network with one read-out per label.

    Args:
        width: channels of the first of five levels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 6 * width, 8 * width]
        self.levels = nn.ModuleList(
            [
                _level(inputs, outputs, stride=1 if n == 0 else 2)
                for n, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True))
            ]
        )
        flat = widths[-1] * 49
        self.embedding = nn.Linear(flat, EMBEDDING)
        self.readout = nn.Linear(flat, 2 * LANDMARKS + 3 + 1 + VISEMES)

    def forward(self, images: Tensor) -> FaceReading:
        """Read pictures (n, 3, s, s) in [-1, 1] with s at least 112."""
        features = self.features(images)
        flat = F.adaptive_avg_pool2d(features[-1], 7).flatten(1)
        points, angles, opening, visemes = self.readout(flat).split([2 * LANDMARKS, 3, 1, VISEMES], 1)
        landmarks = (points.view(-1, LANDMARKS, 2) + 1) * (IMAGE_SIZE / 2)
        return FaceReading(features, self.embedding(flat), landmarks, angles, opening[:, 0], visemes)

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps at full, half, quarter, ... resolution."""
        features = []
        for level in self.levels:
            images = level(images)
            features.append(images)
        return tuple(features)


def _level(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(inputs, outputs, 3, stride), nn.ReLU(), ConvNorm(outputs, outputs, 3), nn.ReLU())
