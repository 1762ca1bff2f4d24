"""Fields over the picture, such as flows, mixed from a few learned ones by what codes say."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

MIXING = 64


class MotionFields(nn.Module):
    """A flow mixed from a few learned fields, by what the codes say.

    All heads turn much alike. A modulated convolution, which can only scale what the identity map holds, finds that out
    slowly; this finds it out at once and leaves to the convolutions what sets one head apart from another.

    Args:
        codes: size of the codes that mix.
        fields: how many fields.
        size: of a field, pixels.
        channels: of a field: 2 of a flow.
    """

    def __init__(self, codes: int, fields: int, size: int, channels: int = 2) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Linear(codes, MIXING), nn.LeakyReLU(0.2), nn.Linear(MIXING, MIXING), nn.LeakyReLU(0.2),
            nn.Linear(MIXING, fields),
        )  # fmt: skip
        self.fields = nn.Parameter(torch.zeros(fields, channels, size, size))

    @property
    def reader(self) -> nn.Linear:
        """The layer that reads the codes."""
        return cast(nn.Linear, self.mix[0])

    def forward(self, codes: Tensor) -> Tensor:
        """Fields (n, channels, size, size) of codes (n, codes)."""
        return torch.einsum("nf,fcyx->ncyx", self.mix(codes), self.fields)
