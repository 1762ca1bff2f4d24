"""A diffusion autoencoder small enough for one core, and pictures to try it on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
import torch

from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoder, DiffusionAutoencoderSize
from model_server.networks.dae_talker.semantic_encoder import SemanticEncoderSize
from model_server.networks.dae_talker.unet import UNetSize


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small pictures are slower on several cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny() -> DiffusionAutoencoderSize:
    unet = UNetSize(16, 16, (1, 2), blocks=1, attention=(8,), latent=32, embedding=32, dropout=0.0)
    encoder = SemanticEncoderSize(16, 32, (1, 2, 2), blocks=1, attention=(8,), latent=32)
    return DiffusionAutoencoderSize(unet, encoder, prediction="clean")


@pytest.fixture
def untrained(tiny: DiffusionAutoencoderSize) -> DiffusionAutoencoder:
    """With small random values where training starts from zero, so that everything has a say."""
    torch.manual_seed(0)
    made = DiffusionAutoencoder(tiny).eval()
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return made


@pytest.fixture
def faces() -> torch.Tensor:
    """Eight pictures (8, 3, 16, 16) of a disc with a mouth: left or right, high or low, shut or open; other light."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    made = []
    for right, low, is_open in product((False, True), repeat=3):
        x, y = columns + (-0.1 if right else 0.1), rows + (-0.1 if low else 0.1)
        head = torch.sigmoid(20 * (0.7 - torch.hypot(x, y)))
        mouth = torch.sigmoid(20 * (1 - torch.hypot(x / 0.3, (y - 0.25) / (0.35 if is_open else 0.1))))
        light = torch.tensor([1.0 if on else 0.5 for on in (right, low, is_open)])[:, None, None]
        made.append(light * (0.2 + 0.8 * head - 0.7 * mouth) * 2 - 1)
    return torch.stack(made).clamp(-1, 1)
