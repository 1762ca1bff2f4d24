"""The autoencoder renders frames one by one or together, learns through c, and can learn a few frames by heart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoder, DiffusionAutoencoderSize
from model_server.networks.dae_talker.diffusion import DdimSampler, NoiseSchedule, start_noise
from model_server.networks.dae_talker.student import StudentDecoder

SCHEDULE = NoiseSchedule.linear()


def render(made: DiffusionAutoencoder, latent: torch.Tensor, steps: int = 10) -> torch.Tensor:
    start = start_noise(made.size.unet.shape, seed=0).expand(len(latent), -1, -1, -1)
    sampler = DdimSampler(SCHEDULE, made.size.prediction, steps, made.size.limit)
    with torch.inference_mode():
        return sampler.render(made.denoiser(latent), start)


def decibels(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(4 / (one - other).square().mean((1, 2, 3)))


def learn(made: DiffusionAutoencoder, pictures: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(made.parameters(), 4e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        # More of the late times, at which only the latent tells pictures apart.
        times = (torch.rand(len(pictures)).sqrt() * SCHEDULE.steps).long()
        optimizer.zero_grad()
        made(pictures, torch.randn_like(pictures), times, SCHEDULE).mean().backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def test_a_batch_is_its_frames(untrained: DiffusionAutoencoder, faces: torch.Tensor) -> None:
    latents = untrained.encoder(faces[:4])
    together = render(untrained, latents)
    assert torch.equal(together, render(untrained, latents))  # same seed, x_T and c: the same bits
    for index in range(4):
        alone = untrained.encoder(faces[index : index + 1])
        assert torch.allclose(alone[0], latents[index], atol=1e-5)
        assert torch.allclose(render(untrained, alone)[0], together[index], atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@torch.no_grad()
def test_half_precision_is_near(untrained: DiffusionAutoencoder, faces: torch.Tensor) -> None:
    whole = render(untrained, untrained.encoder(faces[:2]))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = render(untrained, untrained.encoder(faces[:2]))
    half = untrained.to(torch.bfloat16)
    latents = half.encoder(faces[:2].bfloat16())
    predicted = half.unet(faces[:2].bfloat16(), torch.tensor([10, 900]), latents)
    assert (mixed - whole).abs().mean() < 0.05
    assert predicted.dtype == torch.bfloat16 and predicted.isfinite().all()


@torch.no_grad()
def test_patches_may_stand_for_pixels(tiny: DiffusionAutoencoderSize, faces: torch.Tensor) -> None:
    torch.manual_seed(0)
    unet = replace(tiny.unet, patch=2, refinement=4, attention=(4,))
    made = DiffusionAutoencoder(replace(tiny, unet=unet))
    assert render(made, made.encoder(faces)).shape == faces.shape


@pytest.mark.parametrize("prediction", ["noise", "clean"])
def test_latents_learn_from_the_third_step_on(
    tiny: DiffusionAutoencoderSize, faces: torch.Tensor, prediction: str
) -> None:
    """Until then convolutions that start at zero hide them, and that is no fault."""
    torch.manual_seed(0)
    made = DiffusionAutoencoder(replace(tiny, prediction=prediction))
    optimizer = torch.optim.Adam(made.parameters(), 1e-4)
    learned = []
    for _ in range(4):
        optimizer.zero_grad()
        times = torch.randint(SCHEDULE.steps, (len(faces),))
        made(faces, torch.randn_like(faces), times, SCHEDULE).mean().backward()
        learned.append(float(made.encoder.out.weight.grad.abs().max()))
        optimizer.step()
    assert learned[:2] == [0, 0] and min(learned[2:]) > 0


@pytest.mark.slow
def test_a_few_frames_are_learned_by_heart(tiny: DiffusionAutoencoderSize, faces: torch.Tensor) -> None:
    torch.manual_seed(0)
    made = DiffusionAutoencoder(tiny)
    learn(made, faces, steps=200)
    made.eval()
    with torch.inference_mode():
        latents = made.encoder(faces)
    right = decibels(render(made, latents), faces)
    swapped = decibels(render(made, latents.roll(1, 0)), faces)
    ignorant = decibels(faces.mean(0, keepdim=True), faces)  # the best picture for all latents
    assert right.min() > 19
    assert right.mean() > max(swapped.mean(), ignorant.mean()) + 5


def test_the_student_learns_what_latents_mean(tiny: DiffusionAutoencoderSize, faces: torch.Tensor) -> None:
    torch.manual_seed(0)
    student, latents = StudentDecoder(tiny.unet), torch.randn(8, 32)
    assert not student(latents).any()  # its last convolution starts at zero
    optimizer = torch.optim.Adam(student.parameters(), 4e-3)
    for _ in range(60):
        optimizer.zero_grad()
        (student(latents) - faces).abs().mean().backward()
        optimizer.step()
    made = student(latents).detach()
    assert decibels(made, faces).mean() > decibels(made, faces.roll(1, 0)).mean() + 5
    assert torch.allclose(student(latents[3:4]).detach()[0], made[3], atol=1e-5)
