"""The recogniser gives a step the same result in windows, in batches and alone."""

from dataclasses import replace

import pytest
import torch

from model_server.networks.speech_recogniser.log_mel import HOP, REFERENCE_RMS, log_mel, step_count
from model_server.networks.speech_recogniser.recogniser import Heard, Recogniser, RecogniserSize, heard_in_windows

SMALL = RecogniserSize(units=9, width=32, blocks=2, heads=2, reach=8, kernel=5)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    torch.manual_seed(0)
    return Recogniser(SMALL).eval()


def sound(steps: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return log_mel(REFERENCE_RMS * torch.randn(1, 320 * steps, generator=generator))


def far(one: Heard, other: Heard) -> float:
    pairs = zip((one.ctc, one.frames, *one.hidden), (other.ctc, other.frames, *other.hidden), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


@pytest.mark.parametrize("window", [1, 7, 8, 50, 1000])
@torch.no_grad()
def test_windows_give_what_the_whole_gives(recogniser: Recogniser, window: int) -> None:
    mel = sound(90)
    assert far(heard_in_windows(recogniser, mel, window), recogniser(mel)) < 1e-5


@torch.no_grad()
def test_context_is_all_that_can_change_a_step(recogniser: Recogniser) -> None:
    mel, step = sound(120), 60
    whole = recogniser(mel)
    for side in (-1, 1):
        outside = mel.clone()
        beyond = step + side * (SMALL.context + (side > 0))
        outside[:, 2 * beyond :] = 0 if side > 0 else outside[:, 2 * beyond :]
        if side < 0:
            outside[:, : 2 * beyond] = 0
        assert torch.allclose(recogniser(outside).ctc[:, step], whole.ctc[:, step], atol=1e-6)
    inside = mel.clone()
    inside[:, 2 * (step + 10)] = 0
    assert not torch.allclose(recogniser(inside).ctc[:, step], whole.ctc[:, step], atol=1e-6)


@torch.no_grad()
def test_padding_changes_nothing(recogniser: Recogniser) -> None:
    long, short = sound(70), sound(41, seed=2)
    mel = torch.zeros(2, 140, 80)
    mel[0], mel[1, :82] = long[0], short[0]
    valid = torch.arange(70)[None] < torch.tensor([[70], [41]])
    both = recogniser(mel, valid)
    assert torch.allclose(both.ctc[0], recogniser(long).ctc[0], atol=1e-5)
    assert torch.allclose(both.ctc[1, :41], recogniser(short).ctc[0], atol=1e-5)


def test_the_shipped_size_stays_small() -> None:
    network = Recogniser(RecogniserSize(units=63))
    assert sum(weight.numel() for weight in network.parameters()) < 8_000_000


def test_wrong_shapes_and_kernels_are_named(recogniser: Recogniser) -> None:
    with pytest.raises(ValueError, match="even"):
        recogniser(torch.zeros(1, 3, 80))
    with pytest.raises(ValueError, match="odd"):
        Recogniser(replace(SMALL, kernel=4))


def test_rows_stand_where_the_sound_is() -> None:
    samples = torch.zeros(1, 16000)
    samples[0, 160 * 31 + 80] = 1.0  # the middle of row 31
    rows = log_mel(samples)[0]
    assert rows.shape == (100, 80) and int(rows.sum(1).argmax()) == 31
    assert torch.equal(rows[40:], torch.zeros(60, 80))


@pytest.mark.parametrize(("samples", "steps"), [(1, 1), (320, 1), (321, 2), (16000, 50)])
def test_every_sample_is_in_a_step(samples: int, steps: int) -> None:
    assert step_count(samples) == steps
    assert log_mel(torch.zeros(2, samples)).shape == (2, 2 * steps, 80)


def test_a_tone_is_in_its_band() -> None:
    time = torch.arange(16000) / 16000
    bands = [int(log_mel(0.1 * torch.sin(2 * torch.pi * f * time)[None])[0, 50].argmax()) for f in (200, 1000, 4000)]
    assert bands == sorted(bands) and bands[0] < 12 and 20 < bands[1] < 40 and bands[2] > 55
    assert HOP == 160
