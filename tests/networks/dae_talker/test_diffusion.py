"""The schedule has the published numbers; the sampler finds what a perfect denoiser knows, and the way back."""

from __future__ import annotations

import pytest
import torch

from model_server.networks.dae_talker.diffusion import DdimSampler, Denoiser, NoiseSchedule, Prediction, start_noise

SCHEDULE = NoiseSchedule.linear()
PUBLISHED = {
    0: 0.9999, 50: 0.969951, 250: 0.521423, 500: 0.0777967, 750: 0.00330016, 950: 1.06042e-4, 999: 4.03583e-5,
}  # fmt: skip


def oracle(clean: torch.Tensor, prediction: Prediction) -> Denoiser:
    """Knows the picture behind the noise."""
    if prediction == "clean":
        return lambda noisy, times: clean
    return lambda noisy, times: SCHEDULE.noise(noisy, clean, times)


def gaussian(mean: torch.Tensor, deviation: float) -> Denoiser:
    """The best denoiser of pictures that are normally distributed, in closed form."""

    def noise(noisy: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        left = SCHEDULE.alpha_bar[times].view(-1, 1, 1, 1).to(noisy.dtype)
        return (1 - left).sqrt() * (noisy - left.sqrt() * mean) / (left * deviation**2 + 1 - left)

    return noise


@pytest.mark.parametrize("time", PUBLISHED)
def test_alpha_bar_is_the_published_one(time: int) -> None:
    assert float(SCHEDULE.alpha_bar[time]) == pytest.approx(PUBLISHED[time], rel=2e-6)


def test_picture_and_noise_are_found_again() -> None:
    clean, noise = torch.rand(3, 3, 8, 8).double() * 2 - 1, torch.randn(3, 3, 8, 8).double()
    times = torch.tensor([0, 500, 999])
    noisy = SCHEDULE.noisy(clean, noise, times)
    assert torch.allclose(SCHEDULE.clean(noisy, noise, times), clean)
    assert torch.allclose(SCHEDULE.noise(noisy, clean, times), noise)


@pytest.mark.parametrize("steps", [1, 4, 10, 20, 100, 250])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("prediction", ["noise", "clean"])
def test_a_perfect_denoiser_yields_its_picture(steps: int, spacing: str, prediction: str) -> None:
    clean = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    start = start_noise((3, 8, 8), seed=2).expand(2, -1, -1, -1)
    sampler = DdimSampler(SCHEDULE, prediction, steps, spacing=spacing)
    assert torch.allclose(sampler.render(oracle(clean, prediction), start), clean, atol=1e-4)


def test_times_are_the_published_ones() -> None:
    assert list(DdimSampler(SCHEDULE, steps=20).times) == list(range(0, 1000, 50))
    assert list(DdimSampler(SCHEDULE, steps=4, spacing="trailing").times) == [249, 499, 749, 999]


@pytest.mark.parametrize("steps", [0, 3, 1001])
def test_steps_that_do_not_divide_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="divide"):
        DdimSampler(SCHEDULE, steps=steps)


def test_inversion_leads_to_the_noise_from_which_the_picture_comes() -> None:
    generator = torch.Generator().manual_seed(3)
    mean = torch.rand(1, 3, 16, 16, generator=generator) - 0.5
    pictures = mean + 0.2 * torch.randn(4, 3, 16, 16, generator=generator)
    sampler, denoiser = DdimSampler(SCHEDULE, steps=250, limit=None), gaussian(mean, 0.2)
    start = sampler.invert(denoiser, pictures)
    assert float(start.std()) == pytest.approx(1, abs=0.05)  # noise as the sampler expects it
    error = (sampler.render(denoiser, start) - pictures).square().mean()
    assert 10 * torch.log10(4 / error) > 35
    assert torch.allclose((start - start.mean()) / start.std(), (pictures - mean) / 0.2, atol=0.15)


def test_pictures_are_cut_and_latents_are_not() -> None:
    beyond = torch.full((1, 3, 4, 4), 1.5)
    start = start_noise((3, 4, 4), seed=0)
    assert DdimSampler(SCHEDULE, "clean").render(oracle(beyond, "clean"), start).max() <= 1 + 1e-5
    unlimited = DdimSampler(SCHEDULE, "clean", limit=None).render(oracle(beyond, "clean"), start)
    assert torch.allclose(unlimited, beyond, atol=1e-4)


def test_weights_of_the_loss() -> None:
    times = torch.tensor([0, 500, 999])
    assert torch.equal(SCHEDULE.loss_weights(times, "noise"), torch.ones(3))
    expected = torch.tensor([5.0, 1 / (1 - PUBLISHED[500]), 1 / (1 - PUBLISHED[999])])
    assert torch.allclose(SCHEDULE.loss_weights(times, "clean"), expected)


def test_a_seed_is_one_noise() -> None:
    assert torch.equal(start_noise((3, 8, 8), 5), start_noise((3, 8, 8), 5))
    assert not torch.equal(start_noise((3, 8, 8), 5), start_noise((3, 8, 8), 6))
    assert abs(float(start_noise((3, 64, 64), 0).mean())) < 0.05  # normal, not uniform
    assert float(start_noise((3, 64, 64), 0).std()) == pytest.approx(1, abs=0.05)
