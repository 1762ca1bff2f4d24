"""Speech-content encoder: what the mouth should do, from 0.2 s of sound (PC-AVS, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.layers.blocks import ConvNorm, check_shape, shortcut
from model_server.networks.pcavs.presets import MEL_BANDS, MEL_BINS, SpeechWidths

BLOCKS = (3, 4, 6, 3)
REDUCTION = 8


class SpeechEncoder(nn.Module):
    """ResNet-34 with squeeze-and-excitation and self-attentive pooling over time (Chung et al. 2020).

    Args:
        widths: channels.
        content: size of the speech content.
        gated: whether what is no speech is told from it; the paper has no such part.
    """

    def __init__(self, widths: SpeechWidths, content: int, gated: bool = False) -> None:
        super().__init__()
        inputs = (widths.stages[0], *widths.stages)
        self.stem = nn.Conv2d(1, inputs[0], 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(inputs[0])
        self.stages = nn.Sequential(
            *(_stage(inputs[n], width, BLOCKS[n], stride=1 if n == 0 else 2) for n, width in enumerate(widths.stages))
        )
        pooled = inputs[-1] * MEL_BANDS // 8
        self.attention = nn.Sequential(
            nn.Conv1d(pooled, widths.attention, 1),
            nn.ReLU(),
            nn.BatchNorm1d(widths.attention),
            nn.Conv1d(widths.attention, pooled, 1),
            nn.Softmax(dim=2),
        )
        self.readout = nn.Linear(pooled, content)
        self.gate = SpeechGate(content) if gated else None

    def forward(self, windows: Tensor) -> Tensor:
        """Encode log-mel windows (n, 1, 80, 20) in [0, 1] into speech contents (n, content)."""
        check_shape(windows, 1, MEL_BANDS, MEL_BINS)
        x = self.stages(self.stem_norm(F.relu(self.stem(windows))))
        x = x.flatten(1, 2)
        content = self.readout(torch.sum(x * self.attention(x), dim=2))
        return self.gate(content) if self.gate else content


class SpeechGate(nn.Module):
    """Brings contents of sounds that are no speech (noise, music, applause) to that of silence: lips rest.

    Args:
        content: size of the speech content.
    """

    rest: Tensor

    def __init__(self, content: int) -> None:
        super().__init__()
        self.speech_head = nn.Linear(content, 1)
        self.register_buffer("rest", torch.zeros(content))

    def forward(self, content: Tensor) -> Tensor:
        """Speech contents (n, content) of speech contents."""
        return torch.lerp(self.rest.expand_as(content), content, torch.sigmoid(self.speech_head(content)))


class SqueezeExcitationBlock(nn.Module):
    """Residual block of two 3x3 convolutions whose channels are weighted by their averages (Hu et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNormLate(inputs, outputs, stride)
        self.second = ConvNorm(outputs, outputs, 3)
        self.excitation = nn.Sequential(
            nn.Linear(outputs, outputs // REDUCTION),
            nn.ReLU(),
            nn.Linear(outputs // REDUCTION, outputs),
            nn.Sigmoid(),
        )
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y = self.second(self.first(x))
        y = y * self.excitation(y.mean((2, 3)))[:, :, None, None]
        return F.relu(y + self.shortcut(x))


class ConvNormLate(ConvNorm):
    """3x3 convolution, ReLU, and only then batch normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 3, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        return self.norm(F.relu(self.conv(x)))


def _stage(inputs: int, width: int, count: int, stride: int) -> nn.Sequential:
    first = SqueezeExcitationBlock(inputs, width, stride)
    return nn.Sequential(first, *(SqueezeExcitationBlock(width, width, 1) for _ in range(count - 1)))
