"""What of a frame the portrait does not show: the far cheek of a head turned back, or teeth behind closed lips.

A flow alone fetches something for every place, so the far half of a turned face gets the near brow a second time. Two
signs of that are in the flow itself: where it hides something, neighbours are fetched from the same place (the area
that a pixel reads shrinks to nothing), and one place of the portrait is fetched from twice, of which only the nearer
surface may keep it. A small network learns from exact correspondences which.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.pcavs.motion_fields import MotionFields

HIDDEN_FIELDS, HIDDEN_SIZE = 16, 14
WIDTH = 16
CUES = 2
_MOST_AREA = 2.0
_MOST_READERS = 4.0


class VisibilityHead(nn.Module):
    """Tells which pixels of a frame the bent portrait shows truly; leaves the mask as it is until it is trained.

    Args:
        channels: of the features that it reads.
        codes: size of the pose codes, the frame's and the portrait's together.
    """

    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        self.turned_head = MotionFields(codes, HIDDEN_FIELDS, HIDDEN_SIZE, channels=1)
        self.read = nn.Conv2d(channels + CUES, WIDTH, 3, padding=1)
        self.seen_head = nn.Conv2d(WIDTH, 1, 3, padding=1)
        nn.init.zeros_(self.seen_head.weight)
        nn.init.zeros_(self.seen_head.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, flow: Tensor, codes: Tensor) -> Tensor:
        """Logits (n, 1, h, w), added to the mask's.

        Args:
            features: (n, channels, h, w).
            flow: (n, 2, h, w) in halves of the picture.
            codes: (n, codes).
        """
        cues = torch.cat([area(flow), readers(flow)], 1).detach()
        read = F.leaky_relu(self.read(torch.cat([features, cues], 1)), 0.2)
        turned = F.interpolate(self.turned_head(codes), flow.shape[2:], mode="bilinear", align_corners=False)
        return self.seen_head(read) + turned


def area(flow: Tensor) -> Tensor:
    """Area of the portrait (n, 1, h, w) that a pixel reads, less 1: 0 is as large, -1 none, below that mirrored."""
    step = 2 / flow.shape[-1]
    across, down = (torch.gradient(flow, spacing=step, dim=dim)[0] for dim in (3, 2))
    determinant = (1 + across[:, :1]) * (1 + down[:, 1:]) - across[:, 1:] * down[:, :1]
    return determinant.clamp(-_MOST_AREA, _MOST_AREA) - 1


def readers(flow: Tensor) -> Tensor:
    """How many pixels read from the same place as each one, (n, 1, h, w), less 1 and divided by 4."""
    n, _, height, width = flow.shape
    y, x = ((torch.arange(size, device=flow.device) + 0.5) for size in (height, width))
    column = (x + flow[:, 0] * (width / 2)).floor().clamp(0, width - 1)
    row = (y[:, None] + flow[:, 1] * (height / 2)).floor().clamp(0, height - 1)
    places = (row * width + column).long().flatten(1)
    counts = flow.new_zeros(n, height * width)
    # Sums of ones are exact in any order.
    counts.scatter_add_(1, places, torch.ones_like(counts))
    shared = (counts.gather(1, places) - 1) / _MOST_READERS
    return shared.clamp(max=1).view(n, 1, height, width)
