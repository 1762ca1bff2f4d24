"""Minimal filtering gives what plain convolution gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.networks import winograd

# Of results with a deviation of 1; plain float32 is off by about 1e-5.
TOLERANCE = 2e-4


def picture(channels: int, height: int, width: int) -> Tensor:
    torch.manual_seed(height + width)
    return torch.randn(1, channels, height, width).to(memory_format=torch.channels_last)


def kernel(first: int, second: int, fan_in: int) -> Tensor:
    return torch.randn(first, second, 3, 3) / (9 * fan_in) ** 0.5


@pytest.mark.parametrize("height, width", [(4, 4), (28, 28), (12, 40), (112, 112)])
def test_a_convolution(height: int, width: int) -> None:
    x, scales, weight = picture(24, height, width), torch.rand(24) + 0.5, kernel(10, 24, 24)
    made = winograd.Convolution(weight)(x, scales)
    expected = F.conv2d((x * scales[:, None, None]).double(), weight.double(), padding=1)
    assert made.shape == expected.shape and made.is_contiguous(memory_format=torch.channels_last)
    assert (made - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("height, width", [(4, 4), (28, 28), (12, 40), (112, 112)])
def test_a_transposed_convolution(height: int, width: int) -> None:
    x, scales, weight = picture(24, height, width), torch.rand(24) + 0.5, kernel(24, 10, 24)
    made = winograd.TransposedConvolution(weight)(x, scales)
    expected = F.conv_transpose2d((x * scales[:, None, None]).double(), weight.double(), stride=2)
    assert made.shape == expected.shape == (1, 10, 2 * height + 1, 2 * width + 1)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert (made - expected).abs().max() < TOLERANCE


def test_what_finishes_a_layer_sees_every_row_once() -> None:
    x, weight = picture(64, 112, 16), kernel(8, 64, 64)
    seen = []

    def finish(made: Tensor, rows: slice, result: Tensor) -> None:
        seen.extend(range(rows.start, rows.stop))
        result.copy_(made + 1)

    plain = winograd.Convolution(weight)(x, torch.ones(64))
    raised = winograd.Convolution(weight)(x, torch.ones(64), finish)
    assert seen == list(range(28))
    assert torch.equal(raised, plain + 1)


def test_it_is_used_for_whole_tiles_of_many_channels_in_float32_alone() -> None:
    assert winograd.pays(picture(128, 28, 28))
    assert not winograd.pays(picture(128, 30, 28))
    assert not winograd.pays(picture(16, 28, 28))
    assert not winograd.pays(picture(128, 8, 8))
    assert not winograd.pays(picture(128, 28, 28).bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.pays(picture(128, 28, 28))
