"""Minimal filtering gives what plain convolution gives."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.networks.cpu import winograd
from model_server.networks.cpu.epilogue import Normalised
from model_server.networks.cpu.winograd import Convolution, TransposedConvolution
from model_server.networks.layers.modulation import blur
from tests.networks.layers import INPUTS, OUTPUTS, alone_and_in_threads, finish, finished, kernel, modulated, pictures

# Of results with a deviation of about 1; plain float32 is off by about 1e-5.
TOLERANCE = 3e-4


def check(made: Tensor, expected: Tensor) -> None:
    assert made.shape == expected.shape and made.stride(1) == 1
    assert (made - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("count, height, width", [(1, 4, 4), (3, 28, 28), (1, 12, 40), (2, 14, 15), (1, 112, 112)])
def test_a_convolution(count: int, height: int, width: int) -> None:
    x, taken, weight = pictures(height, width, count), modulated(count), kernel(OUTPUTS, INPUTS)
    end = finish(height, width, count)
    expected = F.conv2d((x * taken.scales[..., None, None]).double(), weight.double(), padding=1)
    check(Convolution(weight)(x, taken, end), finished(expected, end))


def test_a_convolution_of_what_is_normalised_first() -> None:
    x, weight = pictures(20, 28, 2), kernel(OUTPUTS, INPUTS)
    taken = Normalised(torch.randn(INPUTS), torch.randn(INPUTS) + 1)
    rectified = F.relu(x * taken.scales[:, None, None] + taken.shifts[:, None, None])
    check(Convolution(weight)(x, taken), F.conv2d(rectified.double(), weight.double(), padding=1))


@pytest.mark.parametrize(
    "count, height, width",
    [(1, 4, 4), (3, 28, 28), (1, 12, 40), (2, 112, 112), (2, 7, 7), (1, 14, 14), (1, 6, 12), (1, 8, 9)],
)
def test_a_transposed_convolution(count: int, height: int, width: int) -> None:
    x, taken, weight = pictures(height, width, count), modulated(count), kernel(INPUTS, OUTPUTS)
    end = finish(2 * height, 2 * width, count)
    doubled = F.conv_transpose2d((x * taken.scales[..., None, None]).double(), weight.double(), stride=2)
    check(TransposedConvolution(weight)(x, taken, end), finished(blur(doubled), end))


@pytest.mark.parametrize("cache", [2**14, 2**20, 2**28])
def test_pictures_do_not_depend_on_how_tiles_are_put_together(cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, taken = pictures(40, 48, 3), modulated(3)
    monkeypatch.setattr(winograd, "_CACHE_BYTES", cache)
    same, doubling = Convolution(kernel(OUTPUTS, INPUTS)), TransposedConvolution(kernel(INPUTS, OUTPUTS))
    for layer, growth in ((same, 1), (doubling, 2)):
        end = finish(growth * 40, growth * 48, 3)
        together = layer(x, taken, end).clone()
        monkeypatch.setattr(winograd, "_CACHE_BYTES", 8 * 2**20)
        torch.testing.assert_close(layer(x, taken, end), together, rtol=0, atol=TOLERANCE)


def test_threads_do_not_share_what_they_make() -> None:
    layer, taken, end = Convolution(kernel(OUTPUTS, INPUTS)), modulated(), finish(56, 56)
    alone, together = alone_and_in_threads(lambda x: layer(x, taken, end).clone(), 56, 56)
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_it_is_used_for_many_channels_and_pixels_in_float32_alone() -> None:
    assert winograd.pays(pictures(28, 30, channels=128), 64)
    assert not winograd.pays(pictures(28, 28, channels=128), 3)
    assert not winograd.pays(pictures(28, 28, channels=36), 64)
    assert not winograd.pays(pictures(8, 8, channels=128), 64)
    assert not winograd.pays(pictures(28, 28, channels=128).bfloat16(), 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.pays(pictures(28, 28, channels=128), 64)


@pytest.mark.slow
def test_without_a_compiler_plain_convolutions_do_it() -> None:
    script = "import torch, model_server.networks.cpu.winograd as w; print(w.pays(torch.zeros(1, 128, 56, 56), 128))"
    for disabled, answer in (("0", "True"), ("1", "False")):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert run.stdout.strip() == answer, run.stderr
