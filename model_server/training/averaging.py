"""The running mean of learning weights, which is what a stage hands on (EMA)."""

from __future__ import annotations

import torch
from torch import nn

_WARM_STEPS = 10  # in which the mean forgets the first weights faster


@torch.no_grad()
def average(averaged: nn.Module, learning: nn.Module, decay: float, step: int) -> None:
    """Move a network's averaged twin towards it after a step, counted from 0."""
    share = 1 - min(decay, (1 + step) / (_WARM_STEPS + step))
    means = averaged.state_dict()
    for name, value in learning.state_dict().items():
        if value.is_floating_point():
            means[name].lerp_(value, share)
        else:
            means[name].copy_(value)
