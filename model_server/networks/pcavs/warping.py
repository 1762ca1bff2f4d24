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

from model_server.networks.cpu import warp_kernels
from model_server.networks.cpu.compiler import AVAILABLE
from model_server.networks.cpu.simd import LANES
from model_server.networks.layers.modulation import StyledConv
from model_server.networks.pcavs.generator import Generator
from model_server.networks.pcavs.lids import LidHead
from model_server.networks.pcavs.motion_fields import MotionFields
from model_server.networks.pcavs.visibility import VisibilityHead

FLOW_SIZE = 56
DRAWN_SIZE = 112
# In halves of the picture. A head turned by 45 degrees moves its features by about 0.4; lips move by a tenth of that.
HEAD_REACH = 0.6
MOUTH_REACH = 0.15
FLOW_CHANNELS = 48
# Fields that a head's turning and a mouth's speaking are mixed from, and their sides.
TURN_FIELDS, TURN_SIZE = 24, 14
SPEAK_FIELDS, SPEAK_SIZE = 24, 28
MASK_BIAS = 1.0


@dataclass(frozen=True)
class Drawing:
    """A frame and what it was made of. H and W are the portrait's.

    Flows are offsets (x, y) from a place in the frame to where the portrait shows it, in halves of the picture.

    Attributes:
        image: (n, 3, H, W) in [-1, 1]: mask * warped + (1 - mask) * rgb.
        rgb: painted pixels (n, 3, 112, 112) in [-1, 1].
        flow: of the head (n, 2, 56, 56), within +-0.6; beside `turned` only what that leaves.
        mouth_flow: finer movement added to it (n, 2, 112, 112), within +-0.15, and `turned` where that was given.
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

    Up to 28 pixels it draws in the portrait's frame, where the identity map is at home. Then the flow that the codes
    alone tell moves what it has drawn to its place in the frame wanted, and the rest is drawn there.

    Args:
        channels: channels at 7, 14, 28, 56 and 112 pixels.
        style: size of the style vector, which all layers share.
        codes: how many of its last values are mouth and pose codes, of the frame and of the portrait.
        pose: size of a pose code; the style ends with the frame's and the portrait's.
        visibility: whether it tells apart what the portrait does not show.
        lids: whether the style is followed by how far the frame's lids and the portrait's are closed.
    """

    def __init__(
        self,
        channels: Sequence[int],
        style: int,
        codes: int,
        pose: int,
        visibility: bool = False,
        lids: bool = False,
    ) -> None:
        super().__init__()
        self.codes, self.pose_codes, self.style_size = codes, 2 * pose, style
        self.turn_head = MotionFields(self.pose_codes, TURN_FIELDS, TURN_SIZE)
        self.speak_head = MotionFields(codes, SPEAK_FIELDS, SPEAK_SIZE)
        self.synthesis = Generator(channels, style)
        self.flow_features = StyledConv(channels[-2], FLOW_CHANNELS, style)
        self.flow_head = _starting_at(0.0, FLOW_CHANNELS, 2)
        self.mouth_head = _starting_at(0.0, channels[-1], 2)
        self.mask_head = _starting_at(MASK_BIAS, channels[-1], 1)
        self.visibility = VisibilityHead(FLOW_CHANNELS, 2 * pose) if visibility else None
        self.lids = LidHead(2 * pose, codes) if lids else None

    @property
    def noise_sizes(self) -> tuple[int, ...]:
        """Height (and width) of each noise map that `forward` wants, in order: 7, 14, 14, ..., 112, 112, 56."""
        return (*self.synthesis.noise_sizes, FLOW_SIZE)

    def forward(
        self,
        identity_map: Tensor,
        style: Tensor,
        noise: Sequence[Tensor],
        portrait: Tensor,
        turned: Tensor | None = None,
        margin: int = 0,
    ) -> Tensor:
        """Frames (n, 3, H, W) in [-1, 1]; arguments as for `draw`."""
        parts = self._parts(identity_map, style, noise, turned)
        with torch.autocast(style.device.type, enabled=False):
            fast = style.is_cpu and AVAILABLE and not torch.is_grad_enabled()
            return (blended if fast else _blended_plainly)(portrait.float(), *parts, margin=margin)

    def draw(
        self,
        identity_map: Tensor,
        style: Tensor,
        noise: Sequence[Tensor],
        portrait: Tensor,
        turned: Tensor | None = None,
        margin: int = 0,
    ) -> Drawing:
        """Draw frames at the portrait's resolution.

        Args:
            identity_map: (n, channels[0], 7, 7).
            style: (n, style): identity vector, mouth code, the portrait's own, pose code, the portrait's own; with
                `lids` two values more, closures 0 to 1 of the frame's lids and of the portrait's.
            noise: one (1 or n, 1, size, size) map for each of `noise_sizes`, standard normal.
            portrait: network view (1 or n, 3, H, W) in [-1, 1], and `margin` pixels around it.
            turned: offsets (n, 2, 112, 112) by which the portrait's depth turns its head, see `turning`; rows of NaN,
                or None, where that is not known: then the codes alone tell how heads turn.
            margin: how much of what surrounds the view the portrait shows on each side, pixels.
        """
        parts = self._parts(identity_map, style, noise, turned)
        with torch.autocast(style.device.type, enabled=False):
            return blend(portrait.float(), *parts, margin=margin)

    def _parts(
        self, identity_map: Tensor, style: Tensor, noise: Sequence[Tensor], turned: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Flow, mouth flow, mask and RGB, as `Drawing` describes them."""
        with torch.autocast(style.device.type, enabled=False):
            style, lids = style.float().tensor_split([self.style_size], 1)
            told = self._with_lids(style, lids)
            codes, exact = self._turn(style, turned)
            turn = codes if exact is None else enlarged(codes, FLOW_SIZE) + halved(exact)
            speak = self._speak(style, lids, turn)
        features = self.synthesis.synthesize(identity_map, told, noise[:-1], lambda x: _bent(x, turn))
        *_, (coarse, _), (fine, rgb) = features
        coarse = self.flow_features(coarse, told, noise[-1])
        # Places in the picture need more digits than half precision has.
        with torch.autocast(style.device.type, enabled=False):
            coarse, fine, rgb = coarse.float(), fine.float(), torch.tanh(rgb.float())
            flow = _within(HEAD_REACH, self.flow_head(coarse) + enlarged(codes, FLOW_SIZE))
            mouth, share = self._fine_heads(fine)
            if self.visibility:
                whole = flow if exact is None else flow + halved(exact)
                seen = self.visibility(coarse, whole, style[:, -self.pose_codes :])
                share = share + enlarged(seen, DRAWN_SIZE)
            fine_flow = _within(MOUTH_REACH, mouth + speak)
            return flow, fine_flow if exact is None else fine_flow + exact, torch.sigmoid(share), rgb

    def _turn(self, style: Tensor, turned: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """How the head turns: as codes say (n, 2, 14, 14), 0 where depth tells it; and as depth tells, if it does."""
        codes = self.turn_head(style[:, -self.pose_codes :])
        if turned is None:
            return codes, None
        unknown = turned[:, :1, :1, :1].isnan()
        return codes * unknown, torch.where(unknown, 0.0, turned)

    def _fine_heads(self, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Mouth flow (n, 2, 112, 112) and mask (n, 1, 112, 112) before their bounds, in one convolution."""
        heads = self.mouth_head, self.mask_head
        weight, bias = (torch.cat([getattr(head, name) for head in heads]) for name in ("weight", "bias"))
        mouth, share = F.conv2d(fine, weight, bias, padding=1).split([len(head.weight) for head in heads], 1)
        return mouth, share

    def _speak(self, style: Tensor, lids: Tensor, turn: Tensor) -> Tensor:
        """How mouth and lids move (n, 2, 112, 112) by the codes, in a head that turns so (n, 2, any, any)."""
        speak = enlarged(_bent(self.speak_head(style[:, -self.codes :]), turn), DRAWN_SIZE)
        if self.lids:
            moved = self.lids.flow(torch.cat([lids, style[:, -self.pose_codes :]], 1))
            speak = speak + enlarged(_bent(moved, turn), DRAWN_SIZE)
        return speak

    def _with_lids(self, style: Tensor, lids: Tensor) -> Tensor:
        """The style that layers read: closed eyes change the codes, never the identity."""
        if not self.lids:
            return style
        return torch.cat([style[:, : -self.codes], style[:, -self.codes :] + self.lids.style(lids)], 1)


def blend(portrait: Tensor, flow: Tensor, mouth_flow: Tensor, mask: Tensor, rgb: Tensor, *, margin: int = 0) -> Drawing:
    """The drawing that a portrait and the parts that `Drawing` describes make.

    Args:
        portrait: (1 or n, 3, H + 2 margin, W + 2 margin).
    """
    layers = torch.cat([enlarged(flow, mask.shape[-1]) + mouth_flow, mask, rgb], 1)
    offsets, share, paint = enlarged(layers, portrait.shape[-1] - 2 * margin).split([2, 1, 3], 1)
    warped = warp(portrait, offsets, margin)
    if offsets.shape[-1] > layers.shape[-1]:
        warped = _with_edges(warped, portrait, layers[:, :2], margin)
    return Drawing(torch.lerp(paint, warped, share), rgb, flow, mouth_flow, mask, warped)


def _with_edges(warped: Tensor, portrait: Tensor, offsets: Tensor, margin: int) -> Tensor:
    """A bent portrait (n, 3, h, h) with both surfaces mixed where coarse offsets (n, 2, s, s) lead to two of them."""
    low, high, share = _between(warped.shape[-1], offsets)
    rows = [offsets[:, :, place] for place in (low, high)]
    corners = [row[..., place] for row in rows for place in (low, high)]
    folds = (torch.stack(corners[1:]) - corners[0]).abs().amax(dim=(0, 2), keepdim=True)[0] > warp_kernels.FOLD
    weights = [1 - share, share]
    shares = [down[:, None] * across for down in weights for across in weights]
    both = sum(part * warp(portrait, corner, margin) for part, corner in zip(shares, corners, strict=True))
    return torch.where(folds, both, warped)


def _between(size: int, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Between which coarse pixels those of `size` in a row lie, and the share of the second ones, (size,) each."""
    side = coarse.shape[-1]
    place = ((torch.arange(size, device=coarse.device) + 0.5) * (side / size) - 0.5).clamp(min=0)
    low = place.floor().long()
    return low, (low + 1).clamp(max=side - 1), place - low


def _blended_plainly(portrait: Tensor, *parts: Tensor, margin: int) -> Tensor:
    return blend(portrait, *parts, margin=margin).image


def blended(
    portrait: Tensor, flow: Tensor, mouth_flow: Tensor, mask: Tensor, rgb: Tensor, *, margin: int = 0
) -> Tensor:
    """`blend`'s image alone, on a processor in one loop."""
    count, coarse = len(flow), mask.shape[-1]
    height, width = (side - 2 * margin for side in portrait.shape[2:])
    pixels = torch.cat([enlarged(flow, coarse) + mouth_flow, mask, rgb], 1).permute(0, 2, 3, 1)
    layers = F.pad(pixels.reshape(-1), (0, LANES)).numpy()
    colours = F.pad(portrait.permute(0, 2, 3, 1), (0, 1)).flatten(1)
    image = torch.empty(count, height, width, 3)
    warp_kernels.blend(layers, coarse, F.pad(colours, (0, LANES)).numpy(), margin, image.numpy())
    return image.permute(0, 3, 1, 2)


def warp(portrait: Tensor, offsets: Tensor, margin: int = 0) -> Tensor:
    """Bend pictures: pixel p of the result is the portrait at p + offset.

    Args:
        portrait: (1 or n, c, H + 2 margin, W + 2 margin); what lies around the pictures may be fetched, too.
        offsets: (n, 2, H, W): x and y in halves of the picture; beyond the border its pixels repeat.
    """
    n, _, height, width = offsets.shape
    y, x = (_centres(size, offsets) for size in (height, width))
    # Numbers, no tensors of them: a GPU's recording must not copy from the host.
    across, down = width / (width + 2 * margin), height / (height + 2 * margin)
    places = torch.stack([(offsets[:, 0] + x) * across, (offsets[:, 1] + y[:, None]) * down], -1)
    source = portrait.expand(n, -1, -1, -1)
    return F.grid_sample(source, places, mode="bilinear", padding_mode="border", align_corners=False)


def enlarged(x: Tensor, size: int) -> Tensor:
    """Resample (n, c, h, w) to (n, c, size, size), bilinearly."""
    return x if x.shape[-1] == size else F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def halved(x: Tensor) -> Tensor:
    """Resample (n, c, h, w) to half the size, by means."""
    return F.avg_pool2d(x, 2)


def _bent(x: Tensor, offsets: Tensor) -> Tensor:
    """`warp` of features (n, c, size, size) by offsets of any size, in the features' own precision."""
    return warp(x.float(), enlarged(offsets, x.shape[-1])).to(x.dtype)


def _within(reach: float, flow: Tensor) -> Tensor:
    """Bound a flow smoothly; small ones stay as they are."""
    return reach * torch.tanh(flow / reach)


def _centres(size: int, like: Tensor) -> Tensor:
    """Centres of `size` pixels between -1 and 1."""
    return (torch.arange(size, device=like.device, dtype=like.dtype) * 2 + 1) / size - 1


def _starting_at(bias: float, inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution that gives `bias` everywhere until it is trained."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]
    return conv
