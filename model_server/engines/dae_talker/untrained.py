"""Actors whose networks were never trained: everything runs with them, and what they draw means nothing."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from model_server.engines.dae_talker.actor_file import write_actor
from model_server.engines.dae_talker.actor_networks import ActorNetworks
from model_server.engines.dae_talker.weights import Actor
from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoderSize
from model_server.networks.dae_talker.diffusion import start_noise
from model_server.networks.dae_talker.presets import (
    AUTOENCODERS,
    SPEECH2LATENT,
    TOY_AUTOENCODER,
    TOY_RECOGNISER,
    TOY_SPEECH2LATENT,
)
from model_server.networks.dae_talker.speech2latent import Speech2LatentSize
from model_server.networks.speech_recogniser.recogniser import RecogniserSize

TOY = "toy"
# Degrees that yaw, pitch and roll of the pretended training frames spread by, and what they keep within.
_POSE_DEVIATION, _POSE_RANGE = (4.0, 2.0, 2.0), (15.0, 8.0, 6.0)
_POSE_RESCALE = (1.5, 1.5, 1.5)
# Phoneme units of the recogniser.
_UNITS = 40
_SMALL = 0.05


def write_untrained(path: Path, preset: str = TOY, seed: int = 0) -> Path:
    """Write a weights file of an actor of that preset, or of a few thousand parameters for "toy"."""
    yaw, pitch, roll = _POSE_RANGE
    actor = Actor(f"untrained {preset}", (-yaw, -pitch, -roll), _POSE_RANGE, _POSE_RESCALE)
    write_actor(path, untrained_networks(preset, seed), actor, preset, "untrained")
    return path


def untrained_networks(preset: str = TOY, seed: int = 0) -> ActorNetworks:
    """Random networks, the same for a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        empty = ActorNetworks.empty(preset_sizes(preset))
        made = replace(empty, start_noise=start_noise(empty.drawn.shape, seed))
        for name, network in made.modules():
            network.eval().requires_grad_(False)
            if name != "speech":
                _fill(network)
    made.speech2latent.pose_deviation.copy_(torch.tensor(_POSE_DEVIATION))
    return made


def preset_sizes(preset: str) -> dict[str, Any]:
    """Sizes of all networks of a preset, as `ActorNetworks.sizes` gives them."""
    size, spoken, hearing = _sizes(preset)
    sizes = {"speech": hearing, "speech2latent": spoken, "autoencoder": size, "student": size.unet}
    pictures = {"pictures": size.pictures} if size.pictures else {}
    return {name: asdict(cast(Any, one)) for name, one in (sizes | pictures).items()}


def _sizes(preset: str) -> tuple[DiffusionAutoencoderSize, Speech2LatentSize, RecogniserSize]:
    if preset == TOY:
        return TOY_AUTOENCODER, TOY_SPEECH2LATENT, TOY_RECOGNISER
    size, hearing = AUTOENCODERS[preset], RecogniserSize(_UNITS)
    spoken = SPEECH2LATENT["compact" if size.unet.latent == SPEECH2LATENT["compact"].latent else "full"]
    return size, replace(spoken, layers=hearing.blocks, features=hearing.width), hearing


def _fill(network: nn.Module) -> None:
    """Small random values where training begins at zero, so that everything has a say."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=_SMALL)
