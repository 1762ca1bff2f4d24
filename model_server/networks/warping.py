"""Generator that bends the portrait: flow, blending mask and RGB instead of RGB alone. A departure from PC-AVS.

A small network needs long to paint a face that it has not seen, but soon knows how a face moves. So identity and
sharpness come from the portrait's own pixels, and only what the portrait does not show (the inside of the mouth, a
cheek that comes into view) is painted (as in Siarohin et al. 2019, First Order Motion Model, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.generator import Generator
from model_server.networks.modulation import StyledConv

FLOW_SIZE = 56
DRAWN_SIZE = 112
# In halves of the picture. A head turned by 45 degrees moves its features by about 0.4; lips move by a tenth of that.
HEAD_REACH = 0.6
MOUTH_REACH = 0.15
FLOW_CHANNELS = 48
MASK_BIAS = 1.0


@dataclass(frozen=True)
class Drawing:
    """A frame and what it was made of. H and W are the portrait's.

    Flows are offsets (x, y) from a place in the frame to where the portrait shows it, in halves of the picture.

    Attributes:
        image: (n, 3, H, W) in [-1, 1]: mask * warped + (1 - mask) * rgb.
        rgb: painted pixels (n, 3, 112, 112) in [-1, 1].
        flow: of the head (n, 2, 56, 56), within +-0.6.
        mouth_flow: finer movement added to it (n, 2, 112, 112), within +-0.15.
        mask: share of the warped portrait (n, 1, 112, 112) in [0, 1].
        warped: the portrait bent by both flows (n, 3, H, W).
    """

    image: Tensor
    rgb: Tensor
    flow: Tensor
    mouth_flow: Tensor
    mask: Tensor
    warped: Tensor

    @property
    def offsets(self) -> Tensor:
        """Both flows together (n, 2, 112, 112)."""
        return enlarged(self.flow, DRAWN_SIZE) + self.mouth_flow


class WarpGenerator(nn.Module):
    """Style-based generator to 112 pixels with heads for two flows and a mask.

    Args:
        channels: channels at 7, 14, 28, 56 and 112 pixels.
        style: size of the style vector, which all layers share.
    """

    def __init__(self, channels: Sequence[int], style: int) -> None:
        super().__init__()
        self.synthesis = Generator(channels, style)
        self.flow_features = StyledConv(channels[-2], FLOW_CHANNELS, style)
        self.flow_head = _starting_at(0.0, FLOW_CHANNELS, 2)
        self.mouth_head = _starting_at(0.0, channels[-1], 2)
        self.mask_head = _starting_at(MASK_BIAS, channels[-1], 1)

    @property
    def noise_sizes(self) -> tuple[int, ...]:
        """Height (and width) of each noise map that `forward` wants, in order: 7, 14, 14, ..., 112, 112, 56."""
        return (*self.synthesis.noise_sizes, FLOW_SIZE)

    def forward(self, identity_map: Tensor, style: Tensor, noise: Sequence[Tensor], portrait: Tensor) -> Tensor:
        """Frames (n, 3, H, W) in [-1, 1]; arguments as for `draw`."""
        return self.draw(identity_map, style, noise, portrait).image

    def draw(self, identity_map: Tensor, style: Tensor, noise: Sequence[Tensor], portrait: Tensor) -> Drawing:
        """Draw frames at the portrait's resolution.

        Args:
            identity_map: (n, channels[0], 7, 7).
            style: (n, style): identity vector, mouth code, pose code, the portrait's own pose code.
            noise: one (1 or n, 1, size, size) map for each of `noise_sizes`, standard normal.
            portrait: network view (1 or n, 3, H, W) in [-1, 1].
        """
        *_, (coarse, _), (fine, rgb) = self.synthesis.synthesize(identity_map, style, noise[:-1])
        coarse = self.flow_features(coarse, style, noise[-1])
        # Places in the picture need more digits than half precision has.
        with torch.autocast(style.device.type, enabled=False):
            coarse, fine, rgb = coarse.float(), fine.float(), torch.tanh(rgb.float())
            flow = HEAD_REACH * torch.tanh(self.flow_head(coarse))
            mouth_flow = MOUTH_REACH * torch.tanh(self.mouth_head(fine))
            mask = torch.sigmoid(self.mask_head(fine))
            return blend(portrait.float(), flow, mouth_flow, mask, rgb)


def blend(portrait: Tensor, flow: Tensor, mouth_flow: Tensor, mask: Tensor, rgb: Tensor) -> Drawing:
    """The drawing that a portrait (1 or n, 3, H, W) and the parts that `Drawing` describes make."""
    layers = torch.cat([enlarged(flow, mask.shape[-1]) + mouth_flow, mask, rgb], 1)
    offsets, share, paint = enlarged(layers, portrait.shape[-1]).split([2, 1, 3], 1)
    warped = warp(portrait, offsets)
    return Drawing(torch.lerp(paint, warped, share), rgb, flow, mouth_flow, mask, warped)


def warp(portrait: Tensor, offsets: Tensor) -> Tensor:
    """Bend pictures: pixel p of the result is the portrait at p + offset.

    Args:
        portrait: (1 or n, c, H, W).
        offsets: (n, 2, H, W): x and y in halves of the picture; beyond the border its pixels repeat.
    """
    n, _, height, width = offsets.shape
    y, x = (_centres(size, offsets) for size in (height, width))
    grid = offsets + torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    source = portrait.expand(n, -1, -1, -1)
    places = grid.permute(0, 2, 3, 1)
    return F.grid_sample(source, places, mode="bilinear", padding_mode="border", align_corners=False)


def enlarged(x: Tensor, size: int) -> Tensor:
    """Resample (n, c, h, w) to (n, c, size, size), bilinearly."""
    return x if x.shape[-1] == size else F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def _centres(size: int, like: Tensor) -> Tensor:
    """Centres of `size` pixels between -1 and 1."""
    return (torch.arange(size, device=like.device, dtype=like.dtype) * 2 + 1) / size - 1


def _starting_at(bias: float, inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution that gives `bias` everywhere until it is trained."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]
    return conv
