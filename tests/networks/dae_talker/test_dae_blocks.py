"""Conditions work as Diff-AE says: time scales and shifts, then the latent scales; new blocks add nothing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from model_server.networks.dae_talker.blocks import (
    Attention,
    ConditionedBlock,
    GroupNorm,
    LatentNorm,
    PlainBlock,
    TimeAndLatentNorm,
    time_waves,
)


def picture(channels: int = 64) -> torch.Tensor:
    return torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 1


def zero(*layers: torch.nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)


def test_without_conditions_it_is_a_group_norm() -> None:
    norm, alone, x = TimeAndLatentNorm(64, 16, 24), LatentNorm(64, 24), picture()
    zero(norm.time, norm.latent, alone.latent)
    plain = F.group_norm(x, 32, torch.ones(64), torch.zeros(64))
    assert torch.equal(norm(x, torch.randn(2, 16), torch.randn(2, 24)), plain)
    assert torch.equal(alone(x, torch.randn(2, 24)), plain)


def test_time_scales_and_shifts_then_the_latent_scales() -> None:
    torch.manual_seed(1)
    norm, x, time, latent = TimeAndLatentNorm(64, 16, 24), picture(), torch.randn(2, 16), torch.randn(2, 24)
    scale, shift = norm.time(F.silu(time)).chunk(2, 1)
    by_latent = norm.latent(F.silu(latent))
    expected = (F.group_norm(x, 32) * (1 + scale)[..., None, None] + shift[..., None, None]) * (
        1 + by_latent[..., None, None]
    )
    assert torch.allclose(norm(x, time, latent), expected, atol=1e-6)
    zero(norm.norm)  # nothing is left of the picture: the latent scales the time's shift and adds nothing of its own
    zero(norm.time)
    assert not norm(x, time, latent).any()


def test_groups_are_published_ones_and_fp32() -> None:
    assert [GroupNorm(channels).num_groups for channels in (64, 192, 384, 512)] == 4 * [32]
    assert [GroupNorm(channels).num_groups for channels in (16, 32, 48)] == [8, 16, 8]
    norm, x = GroupNorm(64), picture()
    assert norm(x.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(norm(x.bfloat16()), norm(x.bfloat16().float()).bfloat16())


def test_new_blocks_add_nothing() -> None:
    x = picture()
    block = ConditionedBlock(64, 64, TimeAndLatentNorm(64, 16, 24), 0.0)
    conditions = torch.randn(2, 16), torch.randn(2, 24)
    assert torch.equal(block(x, *conditions), x)
    assert torch.equal(Attention(64)(x), x)
    down = ConditionedBlock(64, 64, TimeAndLatentNorm(64, 16, 24), 0.0, "down")
    assert torch.equal(down(x, *conditions), F.avg_pool2d(x, 2))
    up = ConditionedBlock(64, 64, TimeAndLatentNorm(64, 16, 24), 0.0, "up")
    assert torch.equal(up(x, *conditions), F.interpolate(x, scale_factor=2.0, mode="nearest"))


def test_a_block_resamples_between_norm_and_convolution() -> None:
    block, x = PlainBlock(64, 32, "down"), picture()
    expected = block.skip(F.avg_pool2d(x, 2)) + block.conv(F.avg_pool2d(F.silu(block.norm(x)), 2))
    assert torch.equal(block(x), expected)


def test_attention_is_softmax_over_all_places() -> None:
    torch.manual_seed(2)
    attention, x = Attention(32), picture(32)
    torch.nn.init.normal_(attention.out.weight, std=0.1)
    q, k, v = attention.inputs(F.group_norm(x, 16)).flatten(2).chunk(3, 1)
    scale = 32**-0.25
    weights = torch.einsum("ncq,nck->nqk", q * scale, k * scale).softmax(-1)
    heard = torch.einsum("nqk,nck->ncq", weights, v).view_as(x)
    assert torch.allclose(attention(x), x + attention.out(heard), atol=1e-4)


def test_waves_of_time_start_with_cosines() -> None:
    waves = time_waves(torch.tensor([0, 250]), 8)
    assert torch.equal(waves[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    angles = [250 / 10000 ** (i / 4) for i in range(4)]
    expected = torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles])
    assert torch.allclose(waves[1], expected, atol=1e-4)
