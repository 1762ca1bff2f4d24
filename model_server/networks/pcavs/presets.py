"""Widths of the networks: `full` is PC-AVS as published, `lite` has fewer channels and a warp head.

`lite-in-place` is lite with one more network, which draws the lower face into a frame; the paper has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from model_server.features import BIN_COUNT, CROP_SIDE, MEL_COUNT

PresetName = Literal["lite", "full", "lite-in-place"]

POSE_SIZE = 12
IMAGE_SIZE = CROP_SIDE
MAP_SIZE = 7
MEL_BANDS, MEL_BINS = MEL_COUNT, BIN_COUNT
# Of a style vector, its last values where there are any: closure of the frame's lids, and of the portrait's.
LIDS = 2
# Numbers that say how lips are shaped: how far they are open, how far the jaw is down, how much wider than mostly the
# mouth is and how much thicker the lips; in this part of the distance between the eyes' outer corners.
LIP_SHAPE, LIP_SHAPE_UNIT = 4, 0.03
# Parts that weights may lack, by what the names of their tensors begin with: pictures are then what they were before
# there were such parts.
OPTIONAL_PARTS = {
    "visibility": "generator.visibility.",
    "lids": "generator.lids.",
    "speech_gate": "speech_encoder.gate.",
    "lip_shape": "lip_shape.",
}
# Those that are fitted to finished weights: what learns does without.
FITTED_PARTS = ("speech_gate", "lip_shape")
LOWER_FACE = "lower_face."  # begins the tensors of the network that only presets for dubs in place have


@dataclass(frozen=True)
class IdentityWidths:
    """ResNeXt: stem channels, groups, channels of the grouped convolutions per stage (a stage gives twice as many)."""

    stem: int
    groups: int
    stages: tuple[int, int, int, int]


@dataclass(frozen=True)
class NonIdentityWidths:
    """FAN: stem, the two entry blocks, the hourglass, and the feature that the mouth and pose heads read."""

    stem: int
    entry: int
    hourglass: int


@dataclass(frozen=True)
class SpeechWidths:
    """ResNet-SE: channels per stage and hidden channels of the attention."""

    stages: tuple[int, int, int, int]
    attention: int


@dataclass(frozen=True)
class LowerFaceWidths:
    """The network that draws lower faces into frames.

    Attributes:
        side: of the pictures that are looked at and painted, pixels; a multiple of 32.
        seen: channels of its encoders at full, half, quarter and eighth size.
        drawn: channels of its decoder from eighth to full size.
        style: size of what is said and how the head is held, together.
    """

    side: int = 96
    seen: tuple[int, int, int, int] = (16, 32, 48, 96)
    drawn: tuple[int, int, int, int] = (128, 96, 64, 32)
    style: int = 128


@dataclass(frozen=True)
class Preset:
    """All widths of one set of networks.

    Attributes:
        generator: channels at 7, 14, 28, 56, 112 and, without warping, 224 pixels; the first is also the identity
            map's.
        feature: size of the non-identity feature, of the mouth feature and of the speech content.
        mouth: size of the mouth code, the mouth's share of the style vector.
        warps: whether the generator bends the portrait itself and paints only what that does not show. Departs from
            the paper, where every pixel is painted.
        pose: size of the pose code; only the paper's ablation has another one.
        lower_face: the network that draws into frames, None where there is none.
        visibility: whether the generator tells apart what the portrait does not show.
        lids: whether the style says how far lids are closed.
        speech_gate: whether sounds that are no speech are told from it, and lips rest then.
        lip_shape: whether speech tells how lips are shaped, for lower faces.
    """

    name: PresetName
    identity: IdentityWidths
    nonidentity: NonIdentityWidths
    speech: SpeechWidths
    generator: tuple[int, ...]
    feature: int
    mouth: int
    warps: bool
    pose: int = POSE_SIZE
    lower_face: LowerFaceWidths | None = None
    visibility: bool = False
    lids: bool = False
    speech_gate: bool = False
    lip_shape: bool = False

    @property
    def identity_size(self) -> int:
        """Size of the identity vector."""
        return 2 * self.identity.stages[-1]

    @property
    def style_size(self) -> int:
        """Size of the style vector: identity, then `codes_size` of codes, then how far lids are closed."""
        return self.read_style_size + (LIDS if self.lids else 0)

    @property
    def read_style_size(self) -> int:
        """What of it the generator's layers read."""
        return self.identity_size + self.codes_size

    @property
    def codes_size(self) -> int:
        """Size of mouth code and pose code and, for warping, of the portrait's own ones."""
        return (self.mouth + self.pose) * (2 if self.warps else 1)


PRESETS: dict[str, Preset] = {
    "full": Preset(
        name="full",
        identity=IdentityWidths(stem=64, groups=32, stages=(128, 256, 512, 1024)),
        nonidentity=NonIdentityWidths(stem=64, entry=128, hourglass=256),
        speech=SpeechWidths(stages=(32, 64, 128, 256), attention=128),
        generator=(512, 512, 512, 512, 256, 128),
        feature=512,
        mouth=500,
        warps=False,
    ),
    "lite": Preset(
        name="lite",
        identity=IdentityWidths(stem=24, groups=8, stages=(24, 48, 96, 128)),
        nonidentity=NonIdentityWidths(stem=16, entry=16, hourglass=48),
        speech=SpeechWidths(stages=(16, 32, 48, 72), attention=64),
        generator=(192, 192, 128, 64, 32),
        feature=320,
        mouth=116,
        warps=True,
    ),
}


def preset_with(preset: str, names: Iterable[str]) -> Preset:
    """The preset with those optional parts of which `names` are tensors."""
    known, widths = tuple(names), PRESETS[preset]
    found = {part for part, prefix in OPTIONAL_PARTS.items() if any(name.startswith(prefix) for name in known)}
    optional: dict[str, Any] = {part: part in found for part in OPTIONAL_PARTS}
    return replace(widths, **optional)


PRESETS["lite-in-place"] = replace(PRESETS["lite"], name="lite-in-place", lower_face=LowerFaceWidths())
