"""Engines and weights on offer to protocol messages and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import cast

from model_server.engines.base import InPlace, PoseControl, PoseSource, Sizes, Traits, WeightsInfo
from model_server.engines.pose_map import PoseMap
from model_server.engines.registry import family, sizes, traits
from model_server.errors import PoseDubError
from model_server.service.messages import dubbing

PROTOCOL = 1
KINDS = {
    kind: dubbing.WeightsKind.Value(f"WEIGHTS_KIND_{kind.upper()}") for kind in ("untrained", "trained", "imported")
}


def weights_message(info: WeightsInfo) -> dubbing.Weights:
    """Weights on offer."""
    pose_map, drawn = pose_map_message(info.pose_map) if info.pose_map else None, sizes(info)
    return dubbing.Weights(
        weights_id=info.id,
        name=info.name,
        kind=KINDS[info.kind],
        preset=info.preset,
        pose_map=pose_map,
        sizes=dubbing.Sizes(low=drawn.low, high=drawn.high, step=drawn.step),
        traits=_own_traits(info),
    )


def engine_messages(offered: Sequence[WeightsInfo]) -> list[dubbing.Engine]:
    """Engines, each with its weights on offer, in their order."""
    names = dict.fromkeys(info.engine for info in offered)
    return [
        dubbing.Engine(
            name=name,
            weights=[weights_message(info) for info in offered if info.engine == name],
            traits=_traits_message(family(name).TRAITS),
        )
        for name in names
    ]


def _own_traits(info: WeightsInfo) -> dubbing.EngineTraits | None:
    """What weights want, None where it is what their engine says."""
    wanted = traits(info)
    return None if wanted == family(info.engine).TRAITS else _traits_message(wanted)


def _traits_message(wanted: Traits) -> dubbing.EngineTraits:
    controls = [
        dubbing.PoseControl(name=one.name, unit=one.unit, low=one.low, high=one.high, neutral=one.neutral)
        for one in wanted.pose_controls
    ]
    return dubbing.EngineTraits(
        title=wanted.title,
        portrait=wanted.portrait,
        pose_sources=wanted.pose_sources,
        pose_controls=controls,
        reach=wanted.reach,
        parameters=wanted.parameters,
        portrait_optional=wanted.portrait_optional,
        reach_seconds=wanted.reach_seconds,
        in_place=wanted.in_place,
    )


def traits_of(info: dubbing.GetServerInfoResponse, weights_id: str) -> Traits:
    """What weights on offer, the default for "", want of a dub."""
    engine, weights = _offered(info, weights_id)
    told = next((message.traits for message in (weights, engine) if message.HasField("traits")), None)
    return family(engine.name).TRAITS if told is None else _traits_in(told)


def sizes_of(info: dubbing.GetServerInfoResponse, weights_id: str) -> Sizes | None:
    """Pictures that weights on offer, the default for "", draw; None where the server does not tell."""
    _, weights = _offered(info, weights_id)
    told = weights.sizes
    return Sizes(told.low, told.high, told.step) if weights.HasField("sizes") else None


def _offered(info: dubbing.GetServerInfoResponse, weights_id: str) -> tuple[dubbing.Engine, dubbing.Weights]:
    """Weights on offer, the first for "", and their engine."""
    for engine in info.engines:
        for weights in engine.weights:
            if weights_id in ("", weights.weights_id):
                return engine, weights
    raise PoseDubError(f"The server does not offer the weights {weights_id[:12]}; choose others.")


def _traits_in(message: dubbing.EngineTraits) -> Traits:
    controls = [PoseControl(one.name, one.unit, one.low, one.high, one.neutral) for one in message.pose_controls]
    return Traits(
        title=message.title,
        portrait=message.portrait,
        pose_sources=cast(tuple[PoseSource, ...], tuple(message.pose_sources)),
        pose_controls=tuple(controls),
        reach=message.reach if message.HasField("reach") else None,
        parameters=tuple(message.parameters),
        portrait_optional=message.portrait_optional,
        reach_seconds=message.reach_seconds,
        in_place=cast(InPlace, message.in_place),
    )


def pose_map_message(pose_map: PoseMap) -> dubbing.PoseMap:
    """Head angles and pose codes of weights, matrices row by row."""
    return dubbing.PoseMap(
        to_code=chain(*pose_map.to_code),
        frontal=pose_map.frontal,
        to_angles=chain(*pose_map.to_angles),
        zero=pose_map.zero,
        residual=pose_map.residual,
    )
