"""Writes and reads an actor's weights file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model_server.engines import weights_file
from model_server.engines.base import WeightsInfo, WeightsKind
from model_server.engines.dae_talker.actor_networks import ActorNetworks
from model_server.engines.dae_talker.weights import KEY, NAME, POSE_MAP, START_NOISE, Actor, read_actor

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
    told = replace(actor, sizes=networks.sizes(), resolution=networks.resolution)
    metadata = {KEY: told.to_json()}
    weights_file.write_weights(
        path, halved, preset, kind, actor.name, source, POSE_MAP, "angles", engine=NAME, more=metadata
    )


def read_networks(weights: WeightsInfo) -> ActorNetworks:
    """The networks of some weights, for inference.

    Raises:
        PoseDubError: the file cannot be read.
    """
    assert weights.path is not None
    return ActorNetworks.built(read_actor(weights).sizes, weights_file.read_state(weights.path))
