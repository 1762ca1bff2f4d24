"""Levels of a network that goes down in resolution, through its middle, and up again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model_server.networks.dae_talker.blocks import Attention, BlockFactory


class Stage(nn.Module):
    """A residual block, and attention where the level has it."""

    def __init__(self, block: nn.Module, channels: int, attention: bool) -> None:
        super().__init__()
        self.block = block
        self.attention = Attention(channels) if attention else nn.Identity()

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        """Map a picture to one of the block's channels."""
        return self.attention(self.block(x, *conditions))


class DownLevel(nn.Module):
    """Stages of one resolution, then a block that halves it (not on the last level).

    Args:
        inputs: channels in.
        outputs: channels out.
        stages: residual blocks of this resolution.
        block: makes a residual block.
        attention: after each of the stages.
        shrink: whether a halving block follows.
    """

    def __init__(
        self, inputs: int, outputs: int, stages: int, block: BlockFactory, attention: bool, shrink: bool
    ) -> None:
        super().__init__()
        channels = [inputs] + stages * [outputs]
        self.stages = nn.ModuleList(
            Stage(block(a, b, None), b, attention) for a, b in zip(channels, channels[1:], strict=False)
        )
        self.shrink = nn.ModuleList([block(outputs, outputs, "down")] if shrink else [])

    def forward(self, x: Tensor, *conditions: Tensor) -> list[Tensor]:
        """What each block makes of a picture, the last one to go on with."""
        made = []
        for block in (*self.stages, *self.shrink):
            x = block(x, *conditions)
            made.append(x)
        return made


class Middle(nn.Module):
    """Block, attention, block at the lowest resolution."""

    def __init__(self, channels: int, block: BlockFactory) -> None:
        super().__init__()
        self.first = Stage(block(channels, channels, None), channels, attention=True)
        self.last = block(channels, channels, None)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        """Map a picture to the same shape."""
        return self.last(self.first(x, *conditions), *conditions)


class UpLevel(nn.Module):
    """Stages of one resolution, each joined by a picture from the way down, then a block that doubles it.

    Args:
        inputs: channels in.
        outputs: channels out.
        joined: channels that join each stage, 0 where nothing does.
        block: makes a residual block.
        attention: after each of the stages.
        grow: whether a doubling block follows.
    """

    def __init__(
        self, inputs: int, outputs: int, joined: Sequence[int], block: BlockFactory, attention: bool, grow: bool
    ) -> None:
        super().__init__()
        channels = [inputs] + len(joined) * [outputs]
        self.stages = nn.ModuleList(
            Stage(block(a + more, outputs, None), outputs, attention) for a, more in zip(channels, joined, strict=False)
        )
        self.grow = nn.ModuleList([block(outputs, outputs, "up")] if grow else [])

    def forward(self, x: Tensor, joining: list[Tensor], *conditions: Tensor) -> Tensor:
        """Map a picture to the next level's; takes what joins it from the end of `joining`, if anything is there."""
        for stage in self.stages:
            x = stage(torch.cat([x, joining.pop()], 1) if joining else x, *conditions)
        for block in self.grow:
            x = block(x, *conditions)
        return x
