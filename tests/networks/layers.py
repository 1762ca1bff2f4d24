"""Pictures and what is done to them on the way into a convolution and out of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.networks.cpu.epilogue import Finish, Modulated

INPUTS, OUTPUTS = 32, 48


def pictures(height: int, width: int, count: int = 1, channels: int = INPUTS) -> Tensor:
    """Normal noise (count, channels, height, width), channels last, the same for the same size."""
    torch.manual_seed(height + width)
    return torch.randn(count, channels, height, width).to(memory_format=torch.channels_last)


def kernel(first: int, second: int, height: int = 3, width: int = 3) -> Tensor:
    """Weights whose results have about unit size."""
    return torch.randn(first, second, height, width) / (height * width * INPUTS) ** 0.5


def modulated(count: int = 1) -> Modulated:
    """Scales for each of `count` pictures."""
    return Modulated(torch.rand(count, INPUTS) + 0.5)


def finish(height: int, width: int, count: int = 1) -> Finish:
    """An ending for results of that size."""
    return Finish(torch.rand(count, OUTPUTS) + 0.5, torch.randn(OUTPUTS), torch.randn(height, width), 0.2)


def finished(y: Tensor, end: Finish) -> Tensor:
    """The ending as it is defined."""
    return F.leaky_relu(y * end.gains[..., None, None] + end.bias[:, None, None] + end.noise, end.slope)


def alone_and_in_threads(work: Callable[[Tensor], Tensor], height: int, width: int) -> tuple[list[Tensor], ...]:
    """What `work` makes of several pictures one after the other, and of the same ones in two threads."""
    several = [pictures(height, width) + n for n in range(8)]
    with ThreadPoolExecutor(2) as pool:
        return [work(x) for x in several], list(pool.map(work, several))
