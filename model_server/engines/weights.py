"""Engines by their weights: those of the package, or of a file."""

from __future__ import annotations

from pathlib import Path

from model_server.engines import registry
from model_server.engines.base import Engine, PrecisionChoice, WeightsInfo
from model_server.engines.device import check_precision, resolve_device
from model_server.engines.shipped import shipped_weights
from model_server.engines.weights_file import describe

__all__ = ["default_weights", "describe", "load_engine"]


def load_engine(
    info: WeightsInfo, device: str = "auto", precision: PrecisionChoice = "auto", choices: Path | None = None
) -> Engine:
    """Build the engine that `info` names.

    Args:
        info: from `default_weights` or `describe`.
        device: "cpu", "cuda", or "auto" for an NVIDIA GPU where there is one.
        precision: "auto" takes bf16 where it is faster here and draws the same pictures, by measurement.
        choices: file in which what was measured is kept.

    Raises:
        PoseDubError: the weights cannot be read, or there is no such device, or none with such a precision.
    """
    chosen = resolve_device(device)
    check_precision(precision, chosen)
    return registry.family(info.engine).load(info, chosen, precision, choices)


def default_weights() -> WeightsInfo:
    """The weights used when nobody names any: the package's trained ones, untrained ones where it has none."""
    return shipped_weights() or registry.untrained()
