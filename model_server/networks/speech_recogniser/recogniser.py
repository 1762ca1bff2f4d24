"""Log-mel in; phonemes, their places, loudness and pitch out, 50 times a second, offline or in windows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.layers.conformer import ConformerBlock
from model_server.networks.speech_recogniser.log_mel import MEL_BANDS, ROWS_PER_STEP

BLANK = 0  # of CTC; in the frame head the same class is silence
_STEM = 32  # channels of the two-dimensional convolutions
_STEM_BANDS = MEL_BANDS // 4
# Level and spread of speech among the features, so that the first layer sees numbers around 0.
_LEVEL, _SPREAD = 0.45, 0.2


@dataclass(frozen=True)
class RecogniserSize:
    """Sizes of a recogniser.

    Attributes:
        units: phoneme units, without blank or silence.
        width: channels.
        blocks: Conformer blocks.
        heads: of the attention.
        reach: steps of 20 ms to either side that one block's attention sees.
        kernel: of one block's convolution, steps.
    """

    units: int
    width: int = 192
    blocks: int = 6
    heads: int = 4
    reach: int = 32
    kernel: int = 15

    @property
    def context(self) -> int:
        """Steps to either side that can change a step's result."""
        return self.blocks * (self.reach + self.kernel // 2) + 1


@dataclass(frozen=True)
class Heard:
    """What a recogniser says of n sounds of t steps.

    Attributes:
        ctc: logits (n, t, 1 + units); class 0 is the blank.
        frames: logits (n, t, 1 + units) of the phoneme spoken in each step; class 0 is silence.
        energy: (n, t) loudness of the speech, 0 at silence and about 1 at the loudest.
        voicing: logits (n, t) of whether the voice sounds.
        pitch: (n, t) octaves above 150 Hz where it does.
        hidden: outputs of all blocks, each (n, t, width).
    """

    ctc: Tensor
    frames: Tensor
    energy: Tensor
    voicing: Tensor
    pitch: Tensor
    hidden: tuple[Tensor, ...]

    @property
    def prosody(self) -> Tensor:
        """Loudness, voicing and pitch (n, t, 3); what is told of the pitch where no voice sounds means nothing: 0."""
        voiced = self.voicing.sigmoid()
        return torch.stack([self.energy, voiced, voiced * self.pitch], -1)


class Recogniser(nn.Module):
    """Small Conformer with heads for phonemes (CTC), frames, energy and pitch.

    Args:
        size: its sizes.
        dropout: share dropped while training.
    """

    def __init__(self, size: RecogniserSize, dropout: float = 0.1) -> None:
        super().__init__()
        self.size = size
        self.stem = nn.Conv2d(1, _STEM, (4, 3), (ROWS_PER_STEP, 2), (1, 1))
        self.stem_depthwise = nn.Conv2d(_STEM, _STEM, (1, 3), (1, 2), (0, 1), groups=_STEM)
        self.stem_pointwise = nn.Conv2d(_STEM, _STEM, 1)
        self.entry = nn.Linear(_STEM * _STEM_BANDS, size.width)
        self.blocks = nn.ModuleList(
            ConformerBlock(size.width, size.heads, size.reach, size.kernel, dropout) for _ in range(size.blocks)
        )
        self.ctc_head = nn.Linear(size.width, 1 + size.units)
        self.frame_head = nn.Linear(size.width, 1 + size.units)
        self.prosody_head = nn.Linear(size.width, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, mel: Tensor, valid: Tensor | None = None) -> Heard:
        """Listen to log-mel rows (n, 2 t, 80); `valid` (n, t) tells steps from padding."""
        if mel.ndim != 3 or mel.shape[1] % ROWS_PER_STEP or mel.shape[2] != MEL_BANDS:
            raise ValueError(f"log-mel rows are {tuple(mel.shape)}, but must be (n, even, {MEL_BANDS})")
        steps = mel.shape[1] // ROWS_PER_STEP
        valid = torch.ones(len(mel), steps, dtype=torch.bool, device=mel.device) if valid is None else valid
        x = self.dropout(self.entry(self._stem(mel)))
        hidden = []
        for block in self.blocks:
            x = block(x, valid)
            hidden.append(x)
        energy, voicing, pitch = self.prosody_head(x).unbind(-1)
        return Heard(self.ctc_head(x), self.frame_head(x), energy, voicing, pitch, tuple(hidden))

    def _stem(self, mel: Tensor) -> Tensor:
        """Rows (n, 2 t, 80) as (n, t, channels * bands)."""
        # What lies outside a sound is silence; padding must say so, too.
        silence = -_LEVEL / _SPREAD
        x = F.pad(((mel - _LEVEL) / _SPREAD)[:, None], (1, 1, 1, 1), value=silence)
        x = F.silu(F.conv2d(x, self.stem.weight, self.stem.bias, self.stem.stride))
        x = F.silu(self.stem_pointwise(self.stem_depthwise(x)))
        return x.permute(0, 2, 1, 3).flatten(2)


def heard_in_windows(recogniser: Recogniser, mel: Tensor, window: int = 1000) -> Heard:
    """`recogniser(mel)` of one sound (1, 2 t, 80) of any length, computed in windows of so many steps.

    Each window is read with the context that can change its results, so they are those of the whole sound.
    """
    steps, context = mel.shape[1] // ROWS_PER_STEP, recogniser.size.context
    parts = []
    for first in range(0, max(steps, 1), window):
        begin, end = max(0, first - context), min(steps, first + window + context)
        heard = recogniser(mel[:, ROWS_PER_STEP * begin : ROWS_PER_STEP * end])
        parts.append(_cut(heard, first - begin, min(first + window, steps) - begin))
    return _joined(parts)


def _cut(heard: Heard, first: int, end: int) -> Heard:
    steps = slice(first, end)
    return Heard(
        heard.ctc[:, steps], heard.frames[:, steps], heard.energy[:, steps], heard.voicing[:, steps],
        heard.pitch[:, steps], tuple(layer[:, steps] for layer in heard.hidden),
    )  # fmt: skip


def _joined(parts: list[Heard]) -> Heard:
    def whole(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts], 1)

    layers = zip(*(part.hidden for part in parts), strict=True)
    hidden = tuple(torch.cat(layer, 1) for layer in layers)
    return Heard(whole("ctc"), whole("frames"), whole("energy"), whole("voicing"), whole("pitch"), hidden)
