"""All networks together, as one module whose state dict is what a weights file holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model_server.networks.pcavs.generator import Generator
from model_server.networks.pcavs.identity_encoder import IdentityEncoder
from model_server.networks.pcavs.lip_shape import LipShapeNetwork
from model_server.networks.pcavs.lower_face import LowerFaceGenerator
from model_server.networks.pcavs.nonidentity_encoder import NonIdentityEncoder
from model_server.networks.pcavs.presets import LIDS, PRESETS, Preset, preset_with
from model_server.networks.pcavs.speech_encoder import SpeechEncoder
from model_server.networks.pcavs.warping import WarpGenerator

# Batch normalisation counts the batches it was trained on; inference never reads it.
COUNTER = "num_batches_tracked"


class OwnCodes(NamedTuple):
    """How a portrait itself holds its mouth (n, mouth) and its head (n, pose)."""

    mouth: Tensor
    pose: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> OwnCodes:
        """Both codes changed alike."""
        return OwnCodes(change(self.mouth), change(self.pose))


class Networks(nn.Module):
    """All that turns a portrait, sound and pose into frames (PC-AVS, figure 2).

    Args:
        preset: widths, or the name of ready-made ones.
    """

    def __init__(self, preset: str | Preset) -> None:
        super().__init__()
        widths = PRESETS[preset] if isinstance(preset, str) else preset
        self.preset = widths
        self.identity_encoder = IdentityEncoder(widths.identity, widths.generator[0])
        self.nonidentity_encoder = NonIdentityEncoder(widths.nonidentity, widths.feature, widths.mouth, widths.pose)
        self.speech_encoder = SpeechEncoder(widths.speech, widths.feature, widths.speech_gate)
        self.generator: WarpGenerator | Generator = (
            WarpGenerator(
                widths.generator, widths.read_style_size, widths.codes_size, widths.pose, widths.visibility, widths.lids
            )
            if widths.warps
            else Generator(widths.generator, widths.style_size)
        )
        self.lower_face = LowerFaceGenerator(widths.lower_face, widths.feature) if widths.lower_face else None
        self.lip_shape = LipShapeNetwork() if widths.lip_shape else None

    def style(
        self,
        identity: Tensor,
        windows: Tensor,
        pose: Tensor,
        gain: float | Tensor,
        own: OwnCodes | None = None,
        lids: Tensor | None = None,
    ) -> Tensor:
        """Style vectors (n, style size).

        Args:
            identity: identity vectors (n, identity size).
            windows: log-mel windows (n, 1, 80, 20) in [0, 1].
            pose: pose codes (n, 12).
            gain: of the speech content, 1.2 in the published recipe, or gains (n, 1).
            own: the portrait's own codes, from which a warp starts; needed where the preset warps.
            lids: closures (n, 2) of the frame's lids and of the portrait's, 0 to 1, where the preset has them; open
                eyes when None.
        """
        return self.spoken_style(identity, self.speech_encoder(windows) * gain, pose, own, lids)

    def spoken_style(
        self,
        identity: Tensor,
        content: Tensor,
        pose: Tensor,
        own: OwnCodes | None = None,
        lids: Tensor | None = None,
    ) -> Tensor:
        """As `style`, from speech contents (n, feature), gain included."""
        return self.joined_style(identity, self.nonidentity_encoder.mouth_code(content), pose, own, lids)

    def joined_style(
        self,
        identity: Tensor,
        mouth: Tensor,
        pose: Tensor,
        own: OwnCodes | None = None,
        lids: Tensor | None = None,
    ) -> Tensor:
        """As `style`, from mouth codes (n, mouth) of sound or of pictures."""
        if not self.preset.warps:
            return torch.cat([identity, mouth, pose], 1)
        if own is None:
            raise ValueError(f"the {self.preset.name} preset needs the portrait's own codes")
        closures = () if not self.preset.lids else (pose.new_zeros(len(pose), LIDS) if lids is None else lids,)
        return torch.cat([identity, mouth, own.mouth, pose, own.pose, *closures], 1)

    def own_codes(self, feature: Tensor) -> OwnCodes:
        """What a portrait shows, by its non-identity features (n, feature)."""
        encoder = self.nonidentity_encoder
        return OwnCodes(encoder.mouth_code(encoder.mouth_feature(feature)), encoder.pose_code(feature))

    def draw(
        self,
        identity_map: Tensor,
        style: Tensor,
        noise: Sequence[Tensor],
        portrait: Tensor,
        turned: Tensor | None = None,
        margin: int = 0,
    ) -> Tensor:
        """Frames in [-1, 1]: (n, 3, 224, 224), or of the size of `portrait` where the preset warps.

        Args:
            identity_map, style, noise: see `Generator.forward`.
            portrait: network view of the portrait (1 or n, 3, size, size) in [-1, 1], `margin` pixels larger on each
                side; without warping it is ignored.
            turned: how the portrait's depth turns its head (n, 2, 112, 112), see `WarpGenerator.draw`; ignored, too.
        """
        if isinstance(self.generator, WarpGenerator):
            return self.generator(identity_map, style, noise, portrait, turned, margin)
        return self.generator(identity_map, style, noise)


def parameter_shapes(preset: str | Preset) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a weights file of this preset must hold."""
    state = _without_values(preset).state_dict()
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith(COUNTER)}


def build(preset: str, state: dict[str, Tensor]) -> Networks:
    """Networks in evaluation mode, with the tensors that `parameter_shapes` names (others raise RuntimeError).

    Optional parts are there when the state has tensors of them.
    """
    networks = _without_values(preset_with(preset, state))
    counters = {name: torch.zeros((), dtype=torch.long) for name in networks.state_dict() if name.endswith(COUNTER)}
    networks.load_state_dict(state | counters, assign=True)
    return networks.eval()


def _without_values(preset: str | Preset) -> Networks:
    with torch.device("meta"), _NoChance():
        return Networks(preset)


class _NoChance(TorchFunctionMode):
    """Leaves out the random values that modules begin with.

    On a device without memory nothing is drawn either, but PyTorch loads an algebra system to find that out.
    """

    def __torch_function__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What PyTorch calls in the place of each of its functions."""
        if func in (nn.init.uniform_, nn.init.kaiming_uniform_):
            return (kwargs or {})["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


def parameter_counts(preset: Preset) -> dict[str, int]:
    """Number of parameters of each network and optional part."""
    networks = _without_values(preset)
    return {name: sum(value.numel() for value in child.parameters()) for name, child in networks.named_children()}
