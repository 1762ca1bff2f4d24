"""DAE-Talker among the engines: what it wants of a dub, and its weights files. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.engines.base import ANGLES, PrecisionChoice, Sizes, Traits, WeightsInfo
from model_server.engines.dae_talker.traits import POSE_GAIN, TRAITS
from model_server.engines.dae_talker.weights import actor_in, read_actor
from model_server.engines.weights_file import check_shapes
from model_server.errors import ErrorKind, PoseDubError

if TYPE_CHECKING:
    from model_server.engines.dae_talker.engine import DaeTalkerEngine

__all__ = ["TRAITS", "check_tensors", "load", "notes", "parameter_counts", "sizes", "traits"]


def traits(weights: WeightsInfo) -> Traits:
    """What these weights want: poses that their actor was seen in, and what their decoders heed."""
    actor = read_actor(weights)
    bounds = zip(TRAITS.pose_controls, actor.pose_low, actor.pose_high, strict=True)
    controls = tuple(replace(one, low=low, high=high) for one, low, high in bounds)
    wanted = replace(TRAITS, pose_controls=controls)
    # The one-step decoder knows one noise.
    alone = "autoencoder" not in actor.sizes
    return replace(wanted, portrait_optional=False, parameters=(POSE_GAIN,)) if alone else wanted


def notes(weights: WeightsInfo) -> list[str]:
    """Lines on the actor: seen poses, what it was trained with and under which terms."""
    actor = read_actor(weights)
    bounds = zip(ANGLES, actor.pose_low, actor.pose_high, strict=True)
    seen = ", ".join(f"{name} {low:.0f} to {high:.0f}" for name, low, high in bounds)
    facts = [line for name, value in actor.facts.items() for line in _lines(name.replace("_", " "), value)]
    hears = ["Hears with: the package's speech recogniser, which this file leaves out"] if actor.recogniser else []
    return [f"Actor:      {actor.name}", f"Seen poses: {seen} degrees", *hears, *actor.licence, *facts]


def _lines(name: str, value: object, indent: str = "") -> list[str]:
    """A fact on a line, settings on one each below their name."""
    if not isinstance(value, Mapping):
        return [f"{indent}{name}: {value}"]
    return [f"{indent}{name}:", *(line for key, one in value.items() for line in _lines(str(key), one, indent + "  "))]


def sizes(weights: WeightsInfo) -> Sizes:
    """See `Family.sizes`."""
    side = read_actor(weights).resolution
    return Sizes(side, side)


def check_tensors(path: Path, preset: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """See `Family.check_tensors`."""
    from model_server.engines.dae_talker.actor_networks import shapes_of

    actor = actor_in(path)
    try:
        wanted = {name: shape for name, shape in shapes_of(actor.sizes).items() if actor.holds(name)}
    except ValueError as problem:
        raise PoseDubError(
            f"The weights file {path} names no networks of this version ({problem}); export the actor again.",
            ErrorKind.CORRUPT,
        ) from problem
    check_shapes(path, preset, wanted, shapes)


def parameter_counts(weights: WeightsInfo) -> Mapping[str, int]:
    """See `Family.parameter_counts`."""
    from model_server.engines.dae_talker.actor_networks import counts_of

    return counts_of(read_actor(weights).sizes)


def load(
    weights: WeightsInfo, device: str, precision: PrecisionChoice = "auto", choices: Path | None = None
) -> DaeTalkerEngine:
    """See `Family.load`."""
    from model_server.engines.dae_talker.actor_file import read_networks
    from model_server.engines.dae_talker.engine import DaeTalkerEngine

    return DaeTalkerEngine(read_networks(weights), read_actor(weights), weights, device, precision)
