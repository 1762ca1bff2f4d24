"""Sizes of all configurations, counted without memory, and that they fit together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoder, DiffusionAutoencoderSize
from model_server.networks.dae_talker.picture_autoencoder import PictureAutoencoder, PictureAutoencoderSize
from model_server.networks.dae_talker.presets import AUTOENCODERS, SPEECH2LATENT
from model_server.networks.dae_talker.semantic_encoder import SemanticEncoder
from model_server.networks.dae_talker.speech2latent import Speech2Latent
from model_server.networks.dae_talker.student import StudentDecoder
from model_server.networks.dae_talker.unet import UNet, UNetSize

# Millions of parameters and GFLOP a picture of U-Net and encoder, as found for the published networks.
PUBLISHED = {
    "dae-64": (71.5, 27, 19.3, 3.1),
    "dae-128": (104, 148, 24.7, 19),
    "dae-256": (138, 554, 30.1, 71),
}
OURS = {"dae-128-fast": (14.7, 4.3, 1.6, 2.0), "dae-cpu": (4.3, 0.9, 0.77, 0.17)}


def millions(network: nn.Module) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def gflop(network: nn.Module, *inputs: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() / 1e9


@pytest.mark.parametrize("name", AUTOENCODERS)
@torch.no_grad()
def test_parameters_and_work_of_the_autoencoders(name: str) -> None:
    size = AUTOENCODERS[name]
    pictures, latent = (1, *size.unet.shape), (1, size.unet.latent)
    with torch.device("meta"):
        made = DiffusionAutoencoder(size)
        unet = gflop(made.unet, torch.empty(pictures), torch.empty(1), torch.empty(latent))
        encoder = gflop(made.encoder, torch.empty(pictures))
    found = millions(made.unet), unet, millions(made.encoder), encoder
    assert found == pytest.approx((PUBLISHED | OURS)[name], rel=0.02)


def test_the_published_256_pixels_in_all() -> None:
    with torch.device("meta"):
        assert millions(DiffusionAutoencoder(AUTOENCODERS["dae-256"])) == pytest.approx(168.5, rel=0.02)


@pytest.mark.parametrize("name", AUTOENCODERS)
@torch.no_grad()
def test_shapes_of_the_autoencoders(name: str) -> None:
    size = AUTOENCODERS[name]
    with torch.device("meta"):
        made, student = DiffusionAutoencoder(size), StudentDecoder(size.unet)
        pictures = torch.empty(2, *size.unet.shape)
        latent = made.encoder(pictures)
        assert latent.shape == (2, size.unet.latent)
        assert made.unet(pictures, torch.empty(2), latent).shape == pictures.shape
        assert student(latent).shape == pictures.shape
        if size.pictures:
            decoded = PictureAutoencoder(size.pictures).decode(pictures)
            assert decoded.shape == (2, 3, size.pictures.resolution, size.pictures.resolution)


def test_a_frame_of_the_processors_costs_little() -> None:
    """Two cores do some 100 GFLOP a second; 20 frames of them are asked for."""
    size = AUTOENCODERS["dae-cpu"]
    assert size.pictures
    with torch.device("meta"):
        student = StudentDecoder(size.unet).requires_grad_(False)
        decoder = PictureAutoencoder(size.pictures).decoder.requires_grad_(False)
        pictures = torch.empty(1, *size.unet.shape)
        assert gflop(student, torch.empty(1, size.unet.latent)) + gflop(decoder, pictures) < 4


def test_the_student_costs_half_the_teacher() -> None:
    for name in OURS:
        size = AUTOENCODERS[name]
        with torch.device("meta"):
            latent, times = torch.empty(1, size.unet.latent), torch.empty(1)
            student, teacher = StudentDecoder(size.unet), UNet(size.unet).requires_grad_(False)
            taught = gflop(teacher, torch.empty(1, *size.unet.shape), times, latent)
            assert gflop(student.requires_grad_(False), latent) < 0.6 * taught


def test_parameters_of_speech2latent() -> None:
    with torch.device("meta"):
        counts = {name: millions(Speech2Latent(size)) for name, size in SPEECH2LATENT.items()}
    assert counts == pytest.approx({"full": 24.5, "compact": 12.5, "small": 2.51}, rel=0.02)


def test_pictures_of_another_size_are_named(tiny: DiffusionAutoencoderSize) -> None:
    with torch.device("meta"):
        with pytest.raises(ValueError, match="expected a batch"):
            SemanticEncoder(tiny.encoder)(torch.empty(1, 3, 8, 8))
        with pytest.raises(ValueError, match="expected a batch"):
            UNet(tiny.unet)(torch.empty(1, 3, 8, 8), torch.empty(1), torch.empty(1, 32))
        with pytest.raises(ValueError, match="halved"):
            UNet(UNetSize(20, 16, (1, 1, 1, 1)))
        with pytest.raises(ValueError, match="different"):
            DiffusionAutoencoder(replace(tiny, unet=replace(tiny.unet, latent=16)))


@torch.no_grad()
def test_latents_of_pictures_are_standardized() -> None:
    torch.manual_seed(0)
    made = PictureAutoencoder(PictureAutoencoderSize(32, (16, 32), channels=4)).eval()
    pictures = torch.rand(12, 3, 32, 32) * 2 - 1
    raw = made(pictures)
    made.standardize(pictures)
    latents = made.encode(pictures)
    assert latents.shape == (12, 4, 8, 8)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(4), atol=1e-3)
    assert torch.allclose(made.decode(latents), raw, atol=1e-5)
