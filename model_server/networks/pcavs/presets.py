"""Widths of the networks: `full` is PC-AVS as published, `lite` has fewer channels and a warp head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model_server.features import BIN_COUNT, CROP_SIDE, MEL_COUNT

PresetName = Literal["lite", "full"]

POSE_SIZE = 12
IMAGE_SIZE = CROP_SIDE
MAP_SIZE = 7
MEL_BANDS, MEL_BINS = MEL_COUNT, BIN_COUNT


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

    @property
    def identity_size(self) -> int:
        """Size of the identity vector."""
        return 2 * self.identity.stages[-1]

    @property
    def style_size(self) -> int:
        """Size of the style vector: identity, then `codes_size` of codes."""
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
