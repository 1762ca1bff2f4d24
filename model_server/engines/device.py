"""Which device and which arithmetic this computer has for what is wanted."""

from __future__ import annotations

from model_server.engines.base import PrecisionChoice
from model_server.errors import ErrorKind, PoseDubError


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
