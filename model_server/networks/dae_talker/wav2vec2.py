"""wav2vec 2.0 (Baevski et al. 2020) in its base form: sound to features, 50 times a second.

Only what is needed to hear: no masking, no quantizer, no dropout. Sounds are padded by half a window so that step i
lies around the middle of samples 320 i to 320 (i + 1), and as many steps come out as whole ones are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

STEP = 320  # samples of a step of 20 ms
_WINDOW = 400  # samples that one step sees
_LOUDNESS = 10.0  # brings speech of root mean square 0.1 to the deviation 1 that it was trained with
# Kernels and strides of the feature extractor's convolutions (section 4.1 of the paper).
_KERNELS, _STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


@dataclass(frozen=True)
class Wav2Vec2Size:
    """Sizes of the network; the defaults are those of wav2vec 2.0 base.

    Attributes:
        channels: of the feature extractor.
        width: of the transformer.
        inside: of its feed-forward layers.
        blocks: of the transformer.
        heads: of its attention.
        kernel: of the convolution that tells positions, even.
        groups: of that convolution.
    """

    channels: int = 512
    width: int = 768
    inside: int = 3072
    blocks: int = 12
    heads: int = 12
    kernel: int = 128
    groups: int = 16


BASE = Wav2Vec2Size()


class Wav2Vec2(nn.Module):
    """Feature extractor and transformer."""

    def __init__(self, size: Wav2Vec2Size = BASE) -> None:
        super().__init__()
        self.size = size
        channels = (1, *len(_KERNELS) * [size.channels])
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels[n], channels[n + 1], _KERNELS[n], _STRIDES[n], bias=False) for n in range(len(_KERNELS))
        )
        self.first_norm = nn.GroupNorm(size.channels, size.channels)
        self.features_norm = nn.LayerNorm(size.channels)
        self.projection = nn.Linear(size.channels, size.width)
        self.position = nn.Conv1d(size.width, size.width, size.kernel, padding=size.kernel // 2, groups=size.groups)
        self.entry_norm = nn.LayerNorm(size.width)
        self.blocks = nn.ModuleList(TransformerBlock(size) for _ in range(size.blocks))

    def forward(self, samples: Tensor) -> list[Tensor]:
        """Map sounds (n, 320 t), at the reference loudness, to what enters the first block and what each makes of it.

        Returns:
            1 + blocks features, each (n, t, width).
        """
        x = self.projection(self.features_norm(self._extracted(samples)))
        x = self.entry_norm(x + self._positions(x))
        outputs = [x]
        for block in self.blocks:
            outputs.append(block(outputs[-1]))
        return outputs

    def _extracted(self, samples: Tensor) -> Tensor:
        """Local features (n, t, channels)."""
        if samples.shape[-1] % STEP or not samples.shape[-1]:
            raise ValueError(f"{samples.shape[-1]} samples are no whole steps of {STEP}")
        x = F.pad(_LOUDNESS * samples, 2 * ((_WINDOW - STEP) // 2,))[:, None]
        for number, convolution in enumerate(self.convolutions):
            x = convolution(x)
            x = F.gelu(self.first_norm(x) if number == 0 else x)
        return x.transpose(1, 2)

    def _positions(self, x: Tensor) -> Tensor:
        # An even kernel gives one step too many.
        return F.gelu(self.position(x.transpose(1, 2))[..., :-1]).transpose(1, 2)


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each followed by a norm (Vaswani et al. 2017)."""

    def __init__(self, size: Wav2Vec2Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.query, self.key, self.value, self.out = (nn.Linear(size.width, size.width) for _ in range(4))
        self.attention_norm = nn.LayerNorm(size.width)
        self.widen = nn.Linear(size.width, size.inside)
        self.narrow = nn.Linear(size.inside, size.width)
        self.norm = nn.LayerNorm(size.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, t, width) to the same."""
        x = self.attention_norm(x + self._attended(x))
        return self.norm(x + self.narrow(F.gelu(self.widen(x))))

    def _attended(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
