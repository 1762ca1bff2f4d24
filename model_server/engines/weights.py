"""Engines by their weights: those of the package, or of a file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from model_server.engines import registry
from model_server.engines.base import Engine, PrecisionChoice, WeightsInfo
from model_server.engines.device import check_precision, device_name, resolve_device
from model_server.engines.runtime.device_check import CheckedEngine, checked
from model_server.engines.shipped import shipped_actor, shipped_weights
from model_server.engines.weights_file import describe
from model_server.errors import PoseDubError

__all__ = ["built_in_weights", "default_weights", "describe", "load_checked_engine", "load_engine"]

log = logging.getLogger(__name__)


def load_engine(
    info: WeightsInfo, device: str = "auto", precision: PrecisionChoice = "auto", choices: Path | None = None
) -> Engine:
    """Build the engine that `info` names.

    Args:
        info: from `built_in_weights` or `describe`.
        device: "cpu", a kind of GPU, or "auto" for "cuda" where there is such a GPU.
        precision: "auto" takes bf16 where it is faster here and draws the same pictures, by measurement.
        choices: file in which what was measured is kept.

    Raises:
        PoseDubError: the weights cannot be read, or there is no such device, or none with such a precision.
    """
    return load_checked_engine(info, device, precision, choices).engine


def load_checked_engine(
    info: WeightsInfo, device: str = "auto", precision: PrecisionChoice = "auto", choices: Path | None = None
) -> CheckedEngine:
    """The same, with what had to be given up because a GPU does not draw what a processor draws."""
    chosen = resolve_device(device)
    check_precision(precision, chosen)
    family = registry.family(info.engine)
    if chosen == "cpu":
        return CheckedEngine(family.load(info, chosen, precision, choices))
    import torch

    key = f"known frame 1: {info.id} {chosen} {device_name(chosen)} {precision} torch={torch.__version__}"
    return checked(lambda where, how: family.load(info, where, how, choices), chosen, precision, key, choices)


def default_weights() -> WeightsInfo:
    """The weights used when nobody names any: the package's trained ones, untrained ones where it has none."""
    return shipped_weights() or registry.untrained()


def built_in_weights(more: Sequence[WeightsInfo] = ()) -> list[WeightsInfo]:
    """What is offered where no weights are named: the default ones, `more`, and the package's actor.

    An actor that is damaged is left out with a warning: nothing but a dub with it needs it.
    """
    try:
        actor = shipped_actor()
    except PoseDubError as problem:
        log.warning("%s", problem)
        actor = None
    return [default_weights(), *more, *([actor] if actor else [])]
