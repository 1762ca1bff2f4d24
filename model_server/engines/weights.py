"""Which weights and which arithmetic: those of the package or of a file, on this device."""

from __future__ import annotations

from pathlib import Path

from model_server.engines import registry
from model_server.engines.base import Engine, PrecisionChoice, WeightsInfo
from model_server.engines.shipped import shipped_weights
from model_server.engines.weights_file import describe
from model_server.errors import ErrorKind, PoseDubError

__all__ = ["check_precision", "default_weights", "describe", "load_engine", "resolve_device"]


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


def resolve_device(wanted: str) -> str:
    """Turn "auto", "cpu" or "cuda" into "cpu" or "cuda"; PoseDubError when there is no such device here."""
    import torch

    if wanted not in ("auto", "cpu", "cuda"):
        raise PoseDubError(f"The device {wanted} is not known; choose auto, cpu or cuda.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise PoseDubError("There is no usable NVIDIA GPU here; choose the device cpu or auto.", ErrorKind.UNSUPPORTED)
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def check_precision(wanted: PrecisionChoice, device: str) -> None:
    """PoseDubError where "bf16" is wanted of a processor ("cpu") that has no instructions for it."""
    from model_server.networks.cpu import bf16

    if wanted == "bf16" and device == "cpu" and not bf16.native():
        raise PoseDubError(
            "This processor has no instructions for bf16 and would take about a hundred times as long; choose the "
            "precision auto or fp32.",
            ErrorKind.UNSUPPORTED,
        )
