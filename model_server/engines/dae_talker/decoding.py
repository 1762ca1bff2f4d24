"""Latents to pictures: in one step by the student, or in several by the diffusion autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor

from model_server.engines.dae_talker.actor_networks import ActorNetworks
from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.dae_talker.diffusion import DdimSampler

# Steps in which a portrait's noise is found. Diff-AE takes 250; a fixed x_T hardly matters.
INVERSION_STEPS = 100


def sampler(networks: ActorNetworks, steps: int) -> DdimSampler:
    """What renders an actor's latents in so many steps.

    Raises:
        PoseDubError: there is no such sampler.
    """
    if networks.autoencoder is None:
        raise PoseDubError(
            "These weights hold the one-step decoder alone; set the steps to 1 and give no portrait.",
            ErrorKind.UNSUPPORTED,
        )
    try:
        return networks.autoencoder.size.sampler(steps)
    except ValueError as problem:
        raise PoseDubError(f"{problem}; choose 4, 10, 20 or 100.") from problem


def rendered(networks: ActorNetworks, latents: Tensor, steps: int, start: Tensor) -> Tensor:
    """Pictures (n, 3, h, w), pixels about -1 to 1, of latents (n, latent) that start from noise (n, channels, h, w).

    Args:
        steps: 1 asks the student, who knows one noise only, so `start` must be the actor's.
    """
    if steps == 1:
        if networks.student is None:
            raise PoseDubError(
                "These weights hold no one-step decoder; set the steps to 4 or more.", ErrorKind.UNSUPPORTED
            )
        drawn = networks.student(latents)
    else:
        found = sampler(networks, steps)
        assert networks.autoencoder is not None
        drawn = found.render(networks.autoencoder.denoiser(latents), start)
    return networks.pictures.decode(drawn) if networks.pictures else drawn


def noise_of(networks: ActorNetworks, picture: Tensor) -> Tensor:
    """The noise (1, channels, h, w) from which a picture (1, 3, size, size) of the actor is rendered."""
    found = sampler(networks, INVERSION_STEPS)
    assert networks.autoencoder is not None
    clean = networks.pictures.encode(picture) if networks.pictures else picture
    latent = networks.autoencoder.encoder(clean)
    return found.invert(networks.autoencoder.denoiser(latent), clean)


def to_bytes(pictures: Tensor) -> Tensor:
    """Pictures (n, 3, h, w), pixels -1 to 1, as uint8 (n, h, w, 3)."""
    return (pictures.float().clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
