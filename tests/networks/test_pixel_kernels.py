"""The compiled loops give what PyTorch's own operators give, whether channels fill vectors or not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.cpu import compiler
from model_server.networks.layers.blocks import NormConv
from model_server.networks.pcavs.lower_face import Parts, composed, pictured
from model_server.networks.pcavs.nonidentity_encoder import MultiBranchBlock
from model_server.networks.pcavs.optimized_encoders import (
    OptimizedConv,
    OptimizedExcitationBlock,
    OptimizedMultiBranchBlock,
    OptimizedNormConv,
    OptimizedPool,
)
from model_server.networks.pcavs.speech_encoder import SqueezeExcitationBlock
from model_server.networks.pcavs.warping import blend, blended
from tests.networks.layers import pictures

TOLERANCE = 1e-4


def randomised(module: nn.Module) -> nn.Module:
    """With values and running figures that leave nothing out."""
    torch.manual_seed(1)
    for name, values in module.state_dict().items():
        if name.endswith("running_var"):
            values.uniform_(0.5, 2)
        elif values.is_floating_point():
            values.normal_(0, 0.3)
    return module.eval()


def check(prepared: nn.Module, plain: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        made, expected = prepared(x), plain(x)
        assert made.shape == expected.shape
        assert (made - expected).abs().max() < TOLERANCE * expected.std()


@pytest.mark.parametrize("channels", [4, 12, 48])
def test_a_normalisation_before_a_convolution(channels: int) -> None:
    layer = randomised(NormConv(channels, 8, 3))
    assert isinstance(layer, NormConv)
    check(OptimizedNormConv(layer), layer, pictures(9, 7, 3, channels))


@pytest.mark.parametrize("inputs, outputs", [(16, 16), (16, 48), (48, 48), (64, 128)])
def test_branches_are_joined_with_their_shortcut(inputs: int, outputs: int) -> None:
    block = randomised(MultiBranchBlock(inputs, outputs))
    assert isinstance(block, MultiBranchBlock)
    check(OptimizedMultiBranchBlock(block), block, pictures(14, 10, 2, inputs))


@pytest.mark.parametrize("inputs, outputs, stride", [(16, 16, 1), (32, 72, 2), (128, 128, 1)])
def test_squeeze_and_excitation(inputs: int, outputs: int, stride: int) -> None:
    block = randomised(SqueezeExcitationBlock(inputs, outputs, stride))
    assert isinstance(block, SqueezeExcitationBlock)
    expected = SqueezeExcitationBlock(inputs, outputs, stride).eval()
    expected.load_state_dict(block.state_dict())
    check(OptimizedExcitationBlock(block), expected, pictures(20, 12, 2, inputs))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("size, stride, channels", [(1, 1, 24), (3, 1, 128), (7, 2, 3)])
def test_a_convolution_with_its_bias_and_rectifier(size: int, stride: int, channels: int, relu: bool) -> None:
    conv = nn.Conv2d(channels, 64, size, stride, size // 2).eval()
    plain = nn.Sequential(conv, nn.ReLU()) if relu else conv
    check(OptimizedConv(conv, relu), plain, pictures(28, 20, 2, channels))


@pytest.mark.parametrize("height, width", [(8, 12), (7, 5)])
def test_the_largest_of_four_pixels(height: int, width: int) -> None:
    x = pictures(height, width, 3, 48)
    assert torch.equal(OptimizedPool()(x), F.max_pool2d(x, 2))


@pytest.mark.parametrize("portraits", [1, 2])
@pytest.mark.parametrize("size, margin", [(224, 0), (224, 56), (300, 75), (448, 0)])
def test_a_bent_portrait_with_paint_over_it(size: int, margin: int, portraits: int) -> None:
    torch.manual_seed(2)
    flow, mouth_flow = torch.randn(2, 2, 56, 56) * 0.3, torch.randn(2, 2, 112, 112) * 0.05
    mask, rgb = torch.rand(2, 1, 112, 112), torch.rand(2, 3, 112, 112) * 2 - 1
    side = size + 2 * margin
    smooth = F.interpolate(torch.rand(portraits, 3, 9, 9) * 2 - 1, (side, side), mode="bilinear")
    mouth_flow[:, :, 30:60, 40:70] += 0.3  # an edge behind which another surface is seen
    with torch.inference_mode():
        expected = blend(smooth, flow, mouth_flow, mask, rgb, margin=margin).image
        assert expected.shape == (2, 3, size, size)
        assert (blended(smooth, flow, mouth_flow, mask, rgb, margin=margin) - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("size", [96, 300, 512])
def test_references_bent_into_a_lower_face(size: int, references: int) -> None:
    torch.manual_seed(3)
    flows, scores = torch.randn(1, references, 2, 64, 64) * 0.3, torch.randn(1, references, 1, 64, 64) * 4
    masks, rgb = torch.rand(2, 1, 1, 128, 128), torch.rand(1, 3, 128, 128) * 2 - 1
    parts = Parts(flows, scores.softmax(1), masks[0], rgb, torch.randn(1, 1, 64, 64) * 4)
    smooth = F.interpolate(torch.rand(references, 3, 9, 9) * 255, (size, size), mode="bilinear").round()
    drawn = (torch.rand(size, size) < 0.5).to(torch.uint8)
    with torch.inference_mode():
        expected = composed(smooth[None] / 127.5 - 1, parts)
        made = pictured(smooth.permute(0, 2, 3, 1).to(torch.uint8).contiguous(), drawn, parts)
    visible = F.interpolate(expected.visible, (size, size), mode="bilinear")
    image = torch.cat([expected.image * 127.5 + 127.5, visible * 255], 1)[0].permute(1, 2, 0)
    assert (made - image)[drawn > 0].abs().max() <= 1.0  # half a step of rounding, and what is left out
    assert not made[drawn == 0].any()


def test_loops_are_compiled_anew_when_what_they_are_made_of_is_newer(tmp_path: Path) -> None:
    kept = tmp_path / "loops.py"
    kept.touch()
    os.utime(kept, (1, 1))
    compiler._renew(kept)
    renewed = kept.stat().st_mtime
    assert renewed > 1
    compiler._renew(kept)
    assert kept.stat().st_mtime == renewed
