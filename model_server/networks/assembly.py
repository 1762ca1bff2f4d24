"""The four networks together, as one module whose state dict is what a weights file holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_server.networks.generator import Generator
from model_server.networks.identity_encoder import IdentityEncoder
from model_server.networks.nonidentity_encoder import NonIdentityEncoder
from model_server.networks.presets import PRESETS, PresetName
from model_server.networks.speech_encoder import SpeechEncoder

# Batch normalisation counts the batches it was trained on; inference never reads it.
COUNTER = "num_batches_tracked"


class Networks(nn.Module):
    """All that turns a portrait, sound and pose into frames (PC-AVS, figure 2)."""

    def __init__(self, preset: PresetName) -> None:
        super().__init__()
        widths = PRESETS[preset]
        self.preset = widths
        self.identity_encoder = IdentityEncoder(widths.identity, widths.generator[0])
        self.nonidentity_encoder = NonIdentityEncoder(widths.nonidentity, widths.feature, widths.mouth)
        self.speech_encoder = SpeechEncoder(widths.speech, widths.feature)
        self.generator = Generator(widths.generator, widths.style_size)

    def style(self, identity: Tensor, windows: Tensor, pose: Tensor, mouth_strength: float) -> Tensor:
        """Style vectors (n, style size).

        Args:
            identity: identity vectors (n, identity size).
            windows: log-mel windows (n, 1, 80, 20) in [0, 1].
            pose: pose codes (n, 12).
            mouth_strength: gain of the speech content, 1.2 in the published recipe.
        """
        content = self.speech_encoder(windows) * mouth_strength
        return torch.cat([identity, self.nonidentity_encoder.mouth_code(content), pose], 1)


def parameter_shapes(preset: PresetName) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a weights file of this preset must hold."""
    with torch.device("meta"):
        state = Networks(preset).state_dict()
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith(COUNTER)}


def build(preset: PresetName, state: dict[str, Tensor]) -> Networks:
    """Networks in evaluation mode, with the tensors that `parameter_shapes` names (others raise RuntimeError)."""
    with torch.device("meta"):
        networks = Networks(preset)
    counters = {name: torch.zeros((), dtype=torch.long) for name in networks.state_dict() if name.endswith(COUNTER)}
    networks.load_state_dict(state | counters, assign=True)
    return networks.eval()


def parameter_counts(preset: PresetName) -> dict[str, int]:
    """Number of parameters of each network."""
    with torch.device("meta"):
        networks = Networks(preset)
    return {name: sum(value.numel() for value in child.parameters()) for name, child in networks.named_children()}
