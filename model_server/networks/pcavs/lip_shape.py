"""Tells how lips are shaped from what the frozen phoneme recogniser hears. A departure from PC-AVS.

A recogniser has learnt what people of all voices have in common; speech contents, which learnt from the few people
that were seen to speak, tell the opening of strangers' lips worse.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.pcavs.presets import LIP_SHAPE
from model_server.networks.speech_recogniser.log_mel import STEPS_PER_SECOND
from model_server.networks.speech_recogniser.recogniser import Heard, RecogniserSize

SHAPES_PER_SECOND = 25
_STEPS = STEPS_PER_SECOND // SHAPES_PER_SECOND
# Outputs of all blocks, loudness, voicing and pitch.
_SIZE = RecogniserSize(units=0)
HEARD = _SIZE.blocks * _SIZE.width + 3
DIGEST = 8  # bytes that tell one recogniser from another
_WIDTH, _LAYERS, _KERNEL = 192, 3, 5
# Rows before and after a row that count for its shape, too.
REACH = _LAYERS * (_KERNEL // 2)
_DROPPED = 0.3


class LipShapeNetwork(nn.Module):
    """Residual convolutions over time.

    Attributes:
        mean, deviation: of what is heard (heard,).
        hears: first bytes (8,) of the SHA-256 of the recogniser's file that it was fitted to.
    """

    mean: Tensor
    deviation: Tensor
    hears: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(HEARD))
        self.register_buffer("deviation", torch.ones(HEARD))
        self.register_buffer("hears", torch.zeros(DIGEST))
        self.entry = nn.Sequential(nn.Dropout(_DROPPED), nn.Linear(HEARD, _WIDTH))
        self.layers = nn.ModuleList(_Layer() for _ in range(_LAYERS))
        self.shape_head = nn.Linear(_WIDTH, LIP_SHAPE)

    def forward(self, heard: Tensor) -> Tensor:
        """Shapes (n, t, 4) of what is heard (n, t, heard), see `heard_rows`."""
        x = self.entry((heard - self.mean) / self.deviation)
        for layer in self.layers:
            x = layer(x)
        return self.shape_head(F.silu(x))

    @torch.no_grad()
    def amplify(self, gain: float) -> None:
        """From now on tell shapes that are so many times as large."""
        self.shape_head.weight.mul_(gain)
        self.shape_head.bias.mul_(gain)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(_WIDTH)
        self.conv = nn.Conv1d(_WIDTH, _WIDTH, _KERNEL, padding=_KERNEL // 2)
        self.dropout = nn.Dropout(_DROPPED)

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, t, width) of features (n, t, width)."""
        return x + self.dropout(self.conv(F.silu(self.norm(x)).transpose(1, 2)).transpose(1, 2))


def heard_rows(heard: Heard) -> Tensor:
    """What was heard in n sounds of 2 t steps, 25 rows a second, (n, t, heard)."""
    return torch.cat([*heard.hidden, heard.prosody], -1).unflatten(1, (-1, _STEPS)).mean(2)
