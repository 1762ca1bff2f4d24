"""Writes and reads an actor's weights file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from model_server.engines import weights_file
from model_server.engines.base import WeightsInfo, WeightsKind
from model_server.engines.dae_talker.actor_networks import ActorNetworks
from model_server.engines.dae_talker.weights import KEY, NAME, POSE_MAP, SPEECH, START_NOISE, Actor, read_actor
from model_server.engines.shipped import shipped_recogniser
from model_server.engines.speech_recogniser import load_recogniser
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest
from model_server.networks.dae_talker.speech_features import SpeechNetwork

# Names of tensors that half precision would spoil: what the student was trained with, and statistics.
_EXACT = (START_NOISE, "pictures.mean", "pictures.deviation")


def write_actor(
    path: Path,
    networks: ActorNetworks,
    actor: Actor,
    preset: str,
    kind: WeightsKind = "trained",
    source: str = "",
) -> None:
    """Write an actor's weights file atomically, matrices in half precision.

    Args:
        path: where to; replaced if it exists.
        networks: weights averaged over the training (EMA) where there are such.
        actor: sizes and resolution are taken from the networks.
        preset: name of the autoencoder's size in `networks.dae_talker.presets`.
        source: SHA-256 of what the weights were made from.
    """
    state = networks.state()
    halved = weights_file.compacted(state) | {name: state[name] for name in _EXACT if name in state}
    halved = {name: value for name, value in halved.items() if actor.holds(name)}
    told = replace(actor, sizes=networks.sizes(), resolution=networks.resolution)
    metadata = {KEY: told.to_json()}
    weights_file.write_weights(
        path, halved, preset, kind, actor.name, source, POSE_MAP, "angles", engine=NAME, more=metadata
    )


def read_networks(weights: WeightsInfo) -> ActorNetworks:
    """The networks of some weights, for inference.

    Raises:
        PoseDubError: the file cannot be read, or hears with the recogniser of another version of the package.
    """
    assert weights.path is not None
    actor, state = read_actor(weights), weights_file.read_state(weights.path)
    if actor.recogniser:
        state |= _built_in_speech(weights.path, actor.recogniser)
    return ActorNetworks.built(actor.sizes, state)


def built_in_recogniser(speech: SpeechNetwork) -> str:
    """SHA-256 of the package's speech recogniser if `speech` is that one, else ""."""
    path = shipped_recogniser()
    if path is None:
        return ""
    own, built_in = (weights_file.compacted(one.state_dict()) for one in (speech, load_recogniser(path).network))
    same = own.keys() == built_in.keys() and all(torch.equal(own[name], value) for name, value in built_in.items())
    return file_digest(path) if same else ""


def _built_in_speech(weights: Path, digest: str) -> dict[str, Tensor]:
    path = shipped_recogniser()
    if path is None or file_digest(path) != digest:
        raise PoseDubError(
            f"The actor {weights} hears with the speech recogniser of another version of PoseDub; use the actor of "
            "this version, or export it again.",
            ErrorKind.UNSUPPORTED,
        )
    return {f"{SPEECH}{name}": value for name, value in load_recogniser(path).network.state_dict().items()}
