"""Draws the lower face into a frame that shows the person already. A departure from PC-AVS, which draws whole heads.

Speech tells how the lips are shaped, and both tell what to draw. In training the lips' true shape takes the told one's
place: so lips open as far as they are told to, where pictures learnt of sound alone are a mean of all that it may look
like, with lips half open.

The frame comes with its lower face taken out, so that what the old mouth did cannot be seen; one to four pictures of
the same person say what teeth, lips and beard look like. A flow bends these, a picture is painted for what none of them
shows, and a mask decides between both. A second, small network sees the frame as it is and says only where something
covers the face; nothing else of what it sees reaches the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.cpu import warp_kernels
from model_server.networks.pcavs.presets import LIP_SHAPE, LowerFaceWidths
from model_server.networks.pcavs.warping import enlarged, warp

# Pictures that say what a person looks like, at most; and the angles of a frame that count: yaw and pitch.
REFERENCES = 4
ANGLES = 2
ANGLE_UNIT = 30.0  # degrees that the network calls 1
# Lips move by up to a quarter of the picture, in halves of it; heads between a reference and the frame about as far.
REACH = 0.6
MASK_BIAS = 1.0
COVER_BIAS = -4.0  # nothing covers a face until that is learnt
# Scores of references count so much: a mean of several is soft, as no two of them are bent to quite the same place.
_DECIDED = 4.0
_HIDDEN = 96  # of the layer that joins what is said, the lips' shape and how the head is held
# Four numbers beside a content's hundreds: so many times as large they count as much.
_LIP_GAIN = 8.0
# Of the network that sees what covers a face, at a half to a thirty-second of the picture: a hand is told from a cheek
# by what surrounds it.
_COVER = (16, 24, 32, 48, 64)
# Shares of the face that count as all covered and all seen. A thing's edge may keep a little of the face beside it;
# half a face painted over it is worse.
_COVERED, _SEEN = 0.3, 0.9


class References(NamedTuple):
    """One to four pictures of a person as the network keeps them.

    Attributes:
        pictures: (n, r, 3, H, W) in [-1, 1], as large as frames are to be drawn.
        small: the same at the network's side, (n, r, 3, side, side).
        angles: yaw and pitch of their heads, (n, r, 2), degrees.
        features: encoded pictures, (n, r, c, side / 4, side / 4) and (n, r, c, side / 8, side / 8).
        bends: what these say of their flows, (n, r, c, side / 4, side / 4).
    """

    pictures: Tensor
    small: Tensor
    angles: Tensor
    features: tuple[Tensor, Tensor]
    bends: Tensor

    def repeated(self, times: int) -> References:
        """Each person so many times in a row."""
        pictures, small, angles, coarse, deep, bends = (
            x.repeat_interleave(times, 0) for x in (self.pictures, self.small, self.angles, *self.features, self.bends)
        )
        return References(pictures, small, angles, (coarse, deep), bends)

    def bare(self, angles: Tensor) -> Tensor:
        """Each person's picture (n, 3, side, side) whose head is turned most like one of `angles` (n, 2)."""
        return turned_alike(self.small, self.angles, angles)


class Speech(NamedTuple):
    """What n people say in their frames.

    Attributes:
        content: speech contents (n, content), gain included.
        lips: how their lips are shaped, (n, 4), see `LIP_SHAPE`.
        angles: yaw and pitch (n, 2) of their heads, degrees.
    """

    content: Tensor
    lips: Tensor
    angles: Tensor


class Parts(NamedTuple):
    """What lower faces are made of; s is the network's side.

    Attributes:
        flows: from a place to where each reference shows it, (n, r, 2, s / 2, s / 2), in halves of the picture.
        shares: of each reference, (n, r, 1, s / 2, s / 2), summing to 1.
        mask: share of the bent references, (n, 1, s, s).
        rgb: what was painted, (n, 3, s, s) in [-1, 1].
        covered: logits of what covers the face, (n, 1, s / 2, s / 2).
    """

    flows: Tensor
    shares: Tensor
    mask: Tensor
    rgb: Tensor
    covered: Tensor


@dataclass(frozen=True)
class LowerFace:
    """A lower face and what it was made of. H and W are those of the references; s is the network's side.

    Attributes:
        image: (n, 3, H, W) in [-1, 1].
        visible: share of the face that nothing covers, (n, 1, s, s) in [0, 1].
        rgb: what was painted, (n, 3, s, s) in [-1, 1].
        mask: share of the bent references, (n, 1, s, s).
        warped: the bent references, (n, 3, H, W).
        covered: logits of what covers the face, (n, 1, s / 2, s / 2).
    """

    image: Tensor
    visible: Tensor
    rgb: Tensor
    mask: Tensor
    warped: Tensor
    covered: Tensor


class LowerFaceGenerator(nn.Module):
    """See the module's text.

    Args:
        widths: channels.
        content: size of speech contents.
    """

    def __init__(self, widths: LowerFaceWidths, content: int) -> None:
        super().__init__()
        self.side = widths.side
        *fine, deep = widths.seen
        first, second, third, last = widths.drawn
        self.style = nn.Sequential(
            nn.Linear(content + ANGLES, _HIDDEN), nn.LeakyReLU(0.2), nn.Linear(_HIDDEN, widths.style), nn.LeakyReLU(0.2)
        )
        self.lip_style = _starting_at_zero(LIP_SHAPE, _HIDDEN)
        self.source_encoder = Encoder(4, widths.seen)
        self.reference_encoder = Encoder(3, widths.seen)
        self.attention = nn.Linear(widths.style, deep)
        self.level8 = nn.ModuleList([FilmConv(2 * deep, first, widths.style), FilmConv(first, first, widths.style)])
        self.level4 = nn.ModuleList([FilmConv(first + 2 * fine[2], second, widths.style)])
        self.level2 = nn.ModuleList([FilmConv(second + fine[1], third, widths.style)])
        self.level1 = nn.ModuleList([FilmConv(third, last, widths.style)])
        self.bend = FilmConv(second + fine[2], fine[2], widths.style)
        self.bend_head = _starting_at(0.0, fine[2], 3)
        self.refine_head = _starting_at(0.0, third, 2)
        self.paint_head = nn.Conv2d(last, 3, 3, padding=1)
        self.mask_head = _starting_at(MASK_BIAS, last, 1)
        self.cover = CoverNetwork()

    def references(self, pictures: Tensor, angles: Tensor) -> References:
        """Look at pictures (n, r, 3, H, W) in [-1, 1] of the lower face, r in 1..4, of heads at `angles` (n, r, 2)."""
        small = resized(pictures.flatten(0, 1), self.side)
        *_, coarse, deep = self.reference_encoder(small)
        bends = F.conv2d(coarse, self.bend.conv.weight[:, -coarse.shape[1] :], padding=1)
        small, coarse, deep, bends = (x.unflatten(0, pictures.shape[:2]) for x in (small, coarse, deep, bends))
        return References(pictures, small, angles, (coarse, deep), bends)

    def forward(self, source: Tensor, hidden: Tensor, references: References, speech: Speech) -> LowerFace:
        """Draw lower faces; arguments as of `parts`."""
        return composed(references.pictures, self.parts(source, hidden, references, speech))

    def parts(self, source: Tensor, hidden: Tensor, references: References, speech: Speech) -> Parts:
        """What lower faces are to be made of.

        Args:
            source: frames as they are, (n, 3, h, h) in [-1, 1], h at least the network's side.
            hidden: where the lower face is taken out of them, (n, 1, h, h), 0 or 1.
            references: of the same n people.
            speech: what they say, how, and how they hold their heads.
        """
        style = self._style(speech)
        _, half, quarter, eighth = self.source_encoder(taken_out(source, hidden, self.side))
        shared, own = self._attended(references.features, style)
        x = torch.cat([eighth, own], 1)
        for layer in self.level8:
            x = layer(x, style)
        x = self.level4[0](torch.cat([_doubled(x), quarter, shared], 1), style)
        flows, shares = self._bends(x, references.bends, style)
        fine = self.level2[0](torch.cat([_doubled(x), half], 1), style)
        flows = flows + self.refine_head(fine)[:, None]
        last = self.level1[0](_doubled(fine), style)
        covered = self.cover(resized(source, self.side), references.bare(speech.angles))
        mask, rgb = torch.sigmoid(self.mask_head(last)), torch.tanh(self.paint_head(last))
        return Parts(_within(flows), shares, mask, rgb, covered)

    def _style(self, speech: Speech) -> Tensor:
        first, *rest = self.style
        x = first(torch.cat([speech.content, speech.angles / ANGLE_UNIT], 1)) + self.lip_style(_LIP_GAIN * speech.lips)
        for layer in rest:
            x = layer(x)
        return x

    def _attended(self, features: tuple[Tensor, Tensor], style: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the references (n, c, h, w), mixed as what is said needs them, quarter and eighth size."""
        coarse, deep = features
        keys = deep.mean((3, 4))
        scores = (keys * self.attention(style)[:, None]).sum(2) / keys.shape[2] ** 0.5
        shares = scores.softmax(1)[..., None, None, None]
        return (coarse * shares).sum(1), (deep * shares).sum(1)

    def _bends(self, x: Tensor, bends: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Flow (n, r, 2, side / 2, side / 2) to each reference and its share (n, r, 1, side / 2, side / 2)."""
        # One convolution of the frame's features beside each reference's, of which the latter are done already.
        conv = self.bend.conv
        frame = F.conv2d(x, conv.weight[:, : x.shape[1]], conv.bias, padding=1)
        each = (frame[:, None] + bends).flatten(0, 1)
        bent = self.bend_head(self.bend.modulated(each, style.repeat_interleave(bends.shape[1], 0)))
        flow, score = enlarged(bent, self.side // 2).unflatten(0, bends.shape[:2]).split([2, 1], 2)
        return flow, (_DECIDED * score).softmax(1)


class CoverNetwork(nn.Module):
    """Says where something lies over the face, from the frame as it is and a picture of the bare face."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (6, *_COVER)
        self.down = nn.ModuleList([_conv(a, b, 2) for a, b in pairwise(sizes)])
        self.deep = _conv(_COVER[-1], _COVER[-1])
        self.up = nn.ModuleList([_conv(a + b, b) for a, b in pairwise(_COVER[::-1])])
        self.cover_head = _starting_at(COVER_BIAS, _COVER[0], 1)

    def forward(self, source: Tensor, bare: Tensor) -> Tensor:
        """Logits (n, 1, s / 2, s / 2) of pictures (n, 3, s, s), s a multiple of 32."""
        levels = [torch.cat([source, bare], 1)]
        for layer in self.down:
            levels.append(layer(levels[-1]))
        x = self.deep(levels.pop())
        for layer, level in zip(self.up, levels[:0:-1], strict=True):
            x = layer(torch.cat([_doubled(x), level], 1))
        return self.cover_head(x)


class Encoder(nn.Module):
    """Features at full, half, quarter and eighth size."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        sizes = (inputs, *widths)
        self.levels = nn.ModuleList(
            [_conv(a, b, 1 if n == 0 else 2) for n, (a, b) in enumerate(zip(sizes, widths, strict=False))]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Of pictures (n, c, s, s), s a multiple of 8."""
        found = []
        for level in self.levels:
            x = level(x)
            found.append(x)
        return found


class FilmConv(nn.Module):
    """3x3 convolution whose channels a style scales and shifts (Perez et al. 2018, FiLM)."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.film = nn.Linear(style, 2 * outputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Features (n, outputs, h, w) of features (n, inputs, h, w) and styles (n, style)."""
        return self.modulated(self.conv(x), style)

    def modulated(self, convolved: Tensor, style: Tensor) -> Tensor:
        """The same of features (n, outputs, h, w) that are convolved already."""
        scale, shift = self.film(style)[..., None, None].chunk(2, 1)
        return F.leaky_relu(torch.addcmul(shift, convolved, 1 + scale), 0.2)


def turned_alike(pictures: Tensor, angles: Tensor, wanted: Tensor) -> Tensor:
    """Of each person's pictures (n, r, c, h, w) of heads at `angles` (n, r, 2) that (n, c, h, w) nearest to `wanted`
    (n, 2), degrees."""
    nearest = (angles - wanted[:, None]).square().sum(2).argmin(1)
    return pictures[torch.arange(len(nearest), device=nearest.device), nearest]


def composed(pictures: Tensor, parts: Parts) -> LowerFace:
    """The lower faces that the parts make of references' pictures (n, r, 3, H, W), at their size."""
    n, r, _, height, _ = pictures.shape
    flows, shares, mask, rgb = (enlarged(x, height) for x in _at_one_size(parts))
    bent = (warp(pictures.flatten(0, 1), flows) * shares).unflatten(0, (n, r)).sum(1)
    # Under autocast parts come in half precision.
    image = torch.lerp(rgb.to(bent), bent, mask.to(bent))
    return LowerFace(image, _visible(parts), parts.rgb, parts.mask, bent, parts.covered)


def pictured(references: Tensor, drawn: Tensor, parts: Parts) -> Tensor:
    """The image of `composed` for one person as bytes RGBA (H, W, 4), A what nothing covers. One loop, on a processor.

    Args:
        references: their pictures, bytes (r, H, W, 3).
        drawn: (H, W) of bytes, not 0 where the image is wanted; elsewhere all of it is 0.
    """
    flows, shares, mask, rgb = _at_one_size(parts)
    layers = torch.cat([torch.cat([flows, shares], 1).flatten(0, 1), mask[0], rgb[0], _visible(parts)[0]])
    result = torch.empty(*drawn.shape, 4, dtype=torch.uint8)
    warp_kernels.lower_face(layers.numpy(), references.numpy(), drawn.numpy(), result.numpy())
    return result


def _at_one_size(parts: Parts) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Flows and shares of all references (n r, ...), mask and paint (n, ...), at the mask's size."""
    fields = enlarged(torch.cat([parts.flows, parts.shares], 2).flatten(0, 1), parts.mask.shape[-1])
    return *fields.split([2, 1], 1), parts.mask, parts.rgb


def _visible(parts: Parts) -> Tensor:
    seen = torch.sigmoid(-enlarged(parts.covered, parts.mask.shape[-1]))
    return ((seen - _COVERED) / (_SEEN - _COVERED)).clamp(0, 1)


def taken_out(source: Tensor, hidden: Tensor, side: int) -> Tensor:
    """Pictures (n, 3, h, h) without what is `hidden` (n, 1, h, h), and where that is, (n, 4, side, side).

    It is taken out before they shrink, or some of it would be mixed into its neighbours.
    """
    cells = F.adaptive_max_pool2d(hidden, side)
    return torch.cat([resized(source * (1 - hidden), side) * (1 - cells), cells], 1)


def resized(pictures: Tensor, side: int) -> Tensor:
    """Pictures (n, c, H, W) at another size, antialiased where they shrink."""
    if pictures.shape[-1] == side:
        return pictures
    return F.interpolate(pictures, (side, side), mode="bilinear", align_corners=False, antialias=True)


def _within(flow: Tensor) -> Tensor:
    return REACH * torch.tanh(flow / REACH)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.2))


def _starting_at_zero(inputs: int, outputs: int) -> nn.Linear:
    """Linear layer that gives 0 until it is trained."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def _starting_at(bias: float, inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution that gives `bias` everywhere until it is trained."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]
    return conv
