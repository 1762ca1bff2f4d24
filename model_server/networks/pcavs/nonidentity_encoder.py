"""Non-identity encoder: how the head is turned and the mouth is shaped, whoever it is (PC-AVS, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.layers.blocks import NormConv, check_shape
from model_server.networks.pcavs.presets import IMAGE_SIZE, POSE_SIZE, NonIdentityWidths

LANDMARKS = 68
DEPTH = 4


class NonIdentityEncoder(nn.Module):
    """First part of a face alignment network (Bulat and Tzimiropoulos 2017) with a mouth and a pose head.

    Args:
        widths: channels of the trunk.
        feature: size of the non-identity and of the mouth feature.
        mouth: size of the mouth code.
        pose: size of the pose code.
    """

    def __init__(self, widths: NonIdentityWidths, feature: int, mouth: int, pose: int = POSE_SIZE) -> None:
        super().__init__()
        self.trunk = FaceAlignmentTrunk(widths, feature)
        self.mouth_head = _two_layers(feature)
        self.mouth_embedding = nn.Linear(feature, mouth)
        self.pose_head = _two_layers(feature)
        self.pose_embedding = nn.Linear(feature, pose)

    def forward(self, images: Tensor) -> Tensor:
        """Encode RGB images (n, 3, 224, 224) in [-1, 1] into non-identity features (n, feature)."""
        check_shape(images, 3, IMAGE_SIZE, IMAGE_SIZE)
        return self.trunk(images)

    def mouth_feature(self, feature: Tensor) -> Tensor:
        """Mouth features (n, feature), which live in the space of the speech content."""
        return self.mouth_head(feature)

    def mouth_code(self, content: Tensor) -> Tensor:
        """Mouth codes (n, mouth) of mouth features or speech contents (n, feature)."""
        return self.mouth_embedding(F.relu(content))

    def pose_code(self, feature: Tensor) -> Tensor:
        """Pose codes (n, 12) of non-identity features (n, feature)."""
        return self.pose_embedding(F.relu(self.pose_head(feature)))


class FaceAlignmentTrunk(nn.Module):
    """Stem, one hourglass, landmark maps, and a linear read-out of those maps."""

    def __init__(self, widths: NonIdentityWidths, feature: int) -> None:
        super().__init__()
        wide = widths.hourglass
        self.stem = nn.Conv2d(3, widths.stem, 7, stride=2, padding=3)
        self.stem_norm = nn.BatchNorm2d(widths.stem)
        self.entry = nn.ModuleList(
            [
                MultiBranchBlock(widths.stem, widths.entry),
                MultiBranchBlock(widths.entry, widths.entry),
                MultiBranchBlock(widths.entry, wide),
            ]
        )
        self.pool = nn.MaxPool2d(2)
        self.hourglass = Hourglass(wide, DEPTH)
        self.top = MultiBranchBlock(wide, wide)
        self.bridge = nn.Conv2d(wide, wide, 1)
        self.bridge_norm = nn.BatchNorm2d(wide)
        self.landmarks = nn.Conv2d(wide, LANDMARKS, 1)
        self.landmarks_norm = nn.BatchNorm2d(LANDMARKS)
        self.squeeze = nn.Conv2d(LANDMARKS, 1, 3, stride=2, padding=1)
        self.readout = nn.Linear((IMAGE_SIZE // 8) ** 2, feature)

    def landmark_maps(self, images: Tensor) -> Tensor:
        """Maps (n, 68, 56, 56) of images (n, 3, 224, 224)."""
        x = self.entry[0](F.relu(self.stem_norm(self.stem(images))))
        x = self.entry[2](self.entry[1](self.pool(x)))
        x = self.top(self.hourglass(x))
        return self.landmarks(F.relu(self.bridge_norm(self.bridge(x))))

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, feature) of images (n, 3, 224, 224)."""
        x = self.squeeze(F.relu(self.landmarks_norm(self.landmark_maps(images))))
        return self.readout(F.relu(x.flatten(1)))


class MultiBranchBlock(nn.Module):
    """Three pre-activated 3x3 convolutions in a row whose outputs (1/2, 1/4, 1/4 of the channels) are joined."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        self.branches = nn.ModuleList(
            [NormConv(inputs, half, 3), NormConv(half, quarter, 3), NormConv(quarter, quarter, 3)]
        )
        self.shortcut = nn.Identity() if inputs == outputs else NormConv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w)."""
        first = self.branches[0](x)
        second = self.branches[1](first)
        third = self.branches[2](second)
        return torch.cat([first, second, third], 1) + self.shortcut(x)


class Hourglass(nn.Module):
    """Halve the resolution `depth` times and come back, with a skip connection at each level (Newell et al. 2016)."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.skip = MultiBranchBlock(channels, channels)
        self.pool = nn.MaxPool2d(2)
        self.down = MultiBranchBlock(channels, channels)
        self.inner = Hourglass(channels, depth - 1) if depth > 1 else MultiBranchBlock(channels, channels)
        self.up = MultiBranchBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape; h and w must be even at each level but the last."""
        low = self.up(self.inner(self.down(self.pool(x))))
        return self.skip(x) + F.interpolate(low, size=x.shape[2:], mode="bilinear", align_corners=False)


def _two_layers(size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))
