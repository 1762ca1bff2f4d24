"""Half precision on a processor gives what plain convolution gives, to the digits that bfloat16 has."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.networks.cpu import bf16
from model_server.networks.cpu.bf16 import Convolution, TransposedConvolution, joined, to_rgb
from model_server.networks.cpu.epilogue import Normalised
from model_server.networks.cpu.packed import PackedConvolution
from model_server.networks.layers.modulation import blur
from tests.networks.layers import INPUTS, OUTPUTS, alone_and_in_threads, finish, finished, kernel, modulated, pictures

# bfloat16 has eight binary digits; inputs, products' sums and results are each rounded once.
RELATIVE = 6e-3


def check(made: Tensor, expected: Tensor) -> None:
    assert made.shape == expected.shape and made.stride(1) == 1
    assert (made.double() - expected).norm() < RELATIVE * expected.norm()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count, height, width", [(1, 7, 7), (3, 28, 28), (2, 5, 12)])
def test_a_convolution(count: int, height: int, width: int, kind: torch.dtype) -> None:
    x, taken = pictures(height, width, count).to(kind), modulated(count)
    weight, end = kernel(OUTPUTS, INPUTS), finish(height, width, count)
    expected = F.conv2d((x * taken.scales[..., None, None]).double(), weight.double(), padding=1)
    made = Convolution(weight)(x, taken, end)
    assert made.dtype == torch.bfloat16
    check(made, finished(expected, end))


@pytest.mark.parametrize("size", [1, 3])
def test_a_convolution_of_what_is_normalised_first(size: int) -> None:
    x, weight = pictures(20, 28, 2), kernel(OUTPUTS, INPUTS, size, size)
    taken = Normalised(torch.randn(INPUTS), torch.randn(INPUTS) + 1)
    rectified = F.relu(x * taken.scales[:, None, None] + taken.shifts[:, None, None])
    check(Convolution(weight)(x, taken), F.conv2d(rectified.double(), weight.double(), padding=size // 2))


@pytest.mark.parametrize("count, height, width", [(1, 7, 7), (3, 14, 14), (2, 3, 8)])
def test_a_transposed_convolution(count: int, height: int, width: int) -> None:
    x, taken, weight = pictures(height, width, count), modulated(count), kernel(INPUTS, OUTPUTS)
    end = finish(2 * height, 2 * width, count)
    doubled = F.conv_transpose2d((x * taken.scales[..., None, None]).double(), weight.double(), stride=2)
    check(TransposedConvolution(weight)(x, taken, end), finished(blur(doubled), end))


def test_colours_are_summed_in_float32() -> None:
    x, weights, bias = pictures(14, 15, 2).bfloat16(), torch.randn(2, 3, INPUTS), torch.randn(3)
    made = to_rgb(x, weights, bias)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, torch.einsum("nchw,ndc->ndhw", x.float(), weights) + bias[:, None, None])


def test_branches_are_joined_in_order() -> None:
    parts = [pictures(6, 5, 2, channels).bfloat16() for channels in (32, 16, 16)]
    added = pictures(6, 5, 2, 64)
    torch.testing.assert_close(joined(parts, added), torch.cat([part.float() for part in parts], 1) + added)


def test_without_the_librarys_own_order_of_weights_the_same_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = pictures(9, 9).bfloat16(), kernel(OUTPUTS, INPUTS, 2, 1)
    halved = weight.bfloat16()
    packed = PackedConvolution(lambda: halved, padding=(1, 0))(x)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    check(PackedConvolution(lambda: halved, padding=(1, 0))(x), packed.double())


def test_threads_do_not_share_what_they_make() -> None:
    layer, taken, end = Convolution(kernel(OUTPUTS, INPUTS)), modulated(), finish(56, 56)
    alone, together = alone_and_in_threads(lambda x: layer(x, taken, end).clone(), 56, 56)
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_it_is_used_where_half_precision_is_asked_for_and_channels_fill_vectors() -> None:
    assert not bf16.fits(pictures(28, 28), 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert bf16.fits(pictures(28, 28), 64)
        assert not bf16.fits(pictures(28, 28), 3)
        assert not bf16.fits(pictures(28, 28, channels=36), 64)
