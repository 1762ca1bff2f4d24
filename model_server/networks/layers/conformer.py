"""Conformer blocks (Gulati et al. 2020) that see all steps, or so few that a window with its context gives the same.

Pre-norm, rotary positions (Su et al. 2021), and GroupNorm over the channels of each step instead of BatchNorm, so that
neither the batch nor the length of the sound changes a step's result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORM_GROUPS = 8
_ROTARY_BASE = 10000.0


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward.

    Args:
        width: channels.
        heads: of the attention; `width / heads` must be even.
        reach: steps to either side that the attention sees; None for all of them.
        kernel: of the depthwise convolution, odd.
        dropout: share dropped while training.
        expansion: how many times as wide the feed-forward layers are inside.
    """

    def __init__(
        self, width: int, heads: int, reach: int | None, kernel: int, dropout: float, expansion: int = 4
    ) -> None:
        super().__init__()
        self.before = FeedForward(width, dropout, expansion)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = GlobalAttention(width, heads) if reach is None else LocalAttention(width, heads, reach)
        self.convolution = ConvolutionModule(width, kernel, dropout)
        self.after = FeedForward(width, dropout, expansion)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (n, t, width) to the same; `valid` (n, t) tells steps from padding."""
        x = x + 0.5 * self.before(x)
        x = x + self.dropout(self.attention(self.attention_norm(x), valid))
        x = x + self.convolution(x, valid)
        x = x + 0.5 * self.after(x)
        return self.norm(x)


class FeedForward(nn.Sequential):
    """Norm, linear, SiLU, linear; `expansion` times as wide inside."""

    def __init__(self, width: int, dropout: float, expansion: int = 4) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.SiLU(),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),  # not inside, too: drawing so many numbers would take a quarter of the training
        )


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise over time, pointwise."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"the kernel is {kernel}, but must be odd")
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.step_norm = nn.GroupNorm(_NORM_GROUPS, width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (n, t, width) to the same."""
        y = F.glu(self.gate(self.norm(x)), dim=-1) * valid[..., None]
        y = self.depthwise(y.transpose(1, 2)).transpose(1, 2)
        y = self.step_norm(y.flatten(0, 1)).view_as(y)
        return self.dropout(self.out(F.silu(y)))


class GlobalAttention(nn.Module):
    """Self-attention of each step to all others, in time and memory quadratic in the length."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (n, t, width) to the same; keys that are not `valid` (n, t) are not seen."""
        q, k, v = self.inputs(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        cosine, sine = _rotations(x.shape[1], q.shape[-1] // 2, x.device)
        q, k = _rotated(q, cosine, sine), _rotated(k, cosine, sine)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        # A step that is padding sees itself, lest its row of the softmax be empty.
        seen = valid[:, None, None, :] | torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        heard = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(heard.transpose(1, 2).flatten(2))


class LocalAttention(nn.Module):
    """Self-attention of each step to those within `reach`, block by block, in time and memory linear in the length."""

    cosine: Tensor
    sine: Tensor
    near: Tensor
    same: Tensor

    def __init__(self, width: int, heads: int, reach: int) -> None:
        super().__init__()
        self.heads, self.reach = heads, reach
        self.inputs = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        cosine, sine = _rotations(3 * reach, width // heads // 2)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        offset = torch.arange(3 * reach) - torch.arange(reach, 2 * reach)[:, None]
        self.register_buffer("near", offset.abs() <= reach, persistent=False)
        self.register_buffer("same", offset == 0, persistent=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (n, t, width) to the same; keys that are not `valid` (n, t) are not seen."""
        n, t, width = x.shape
        block = self.reach
        beyond = -t % block
        q, k, v = F.pad(self.inputs(x), (0, 0, 0, beyond)).view(n, t + beyond, 3, self.heads, -1).unbind(2)
        q = self._turned(q.unflatten(1, (-1, block)), slice(block, 2 * block))
        k, v = self._neighbourhoods(k), self._neighbourhoods(v)
        mask = self._neighbourhoods(F.pad(valid, (0, beyond))[..., None, None])[..., 0, 0]
        seen = (mask[:, :, None, None] & self.near) | self.same
        k = self._turned(k, slice(0, 3 * block))
        q, k, v = (part.transpose(2, 3) for part in (q, k, v))
        heard = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(heard.transpose(2, 3).reshape(n, t + beyond, width)[:, :t])

    def _neighbourhoods(self, x: Tensor) -> Tensor:
        """Each block of (n, t, ...) with the ones before and after it, (n, blocks, 3 * reach, ...)."""
        block = self.reach
        padded = F.pad(x, (0, 0, 0, 0, block, block))
        parts = padded.unflatten(1, (-1, block))
        return torch.cat([parts[:, :-2], parts[:, 1:-1], parts[:, 2:]], 2)

    def _turned(self, x: Tensor, places: slice) -> Tensor:
        """Rotary positions of (n, blocks, steps, heads, d), counted from the block before a query's."""
        return _rotated(x, self.cosine[places], self.sine[places])


def _rotations(steps: int, half: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Cosines and sines (steps, half) of the angles by which each step's pairs of features turn."""
    speeds = _ROTARY_BASE ** (-torch.arange(half, device=device) / half)
    angles = torch.arange(steps, device=device)[:, None] * speeds
    return angles.cos(), angles.sin()


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Features (..., steps, heads, 2 * half) turned by each step's angles (steps, half)."""
    cosine, sine = cosine[:, None].to(x.dtype), sine[:, None].to(x.dtype)
    one, other = x.chunk(2, -1)
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine], -1)
