"""Which device and which arithmetic this computer has for what is wanted."""

from __future__ import annotations

from model_server.engines.base import PrecisionChoice
from model_server.errors import ErrorKind, PoseDubError

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
_GPUS = {"cuda": "NVIDIA or AMD GPU", "mps": "Apple GPU", "xpu": "Intel GPU"}


def resolve_device(wanted: str) -> str:
    """Turn "auto" into "cuda" where there is such a GPU, else "cpu"; other GPUs are taken where they are named.

    Raises:
        PoseDubError: there is no such device here.
    """
    if wanted not in DEVICES:
        raise PoseDubError(f"The device {wanted} is not known; choose {', '.join(DEVICES[:-1])} or {DEVICES[-1]}.")
    if wanted in _GPUS and not available(wanted):
        sentence = f"There is no usable {_GPUS[wanted]} here; choose the device cpu or auto."
        raise PoseDubError(sentence, ErrorKind.UNSUPPORTED)
    if wanted == "auto":
        return "cuda" if available("cuda") else "cpu"
    return wanted


def available(device: str) -> bool:
    """Whether PyTorch can use a GPU of a kind here."""
    import torch

    kinds = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}
    return bool(kinds[device].is_available())


def device_name(device: str) -> str:
    """What a GPU calls itself."""
    import torch

    if device in ("cuda", "xpu"):
        return str(getattr(torch, device).get_device_name())
    return _GPUS[device]


def memory_use(device: str) -> dict[str, int]:
    """Bytes of a graphics card by kind: "used" by this process, "free" and "total"; none for other devices."""
    if device != "cuda":
        return {}
    import torch

    free, total = torch.cuda.mem_get_info()
    return {"used": torch.cuda.memory_reserved(), "free": free, "total": total}


def check_precision(wanted: PrecisionChoice, device: str) -> None:
    """PoseDubError where "bf16" is wanted of a processor ("cpu") that has no instructions for it."""
    from model_server.networks.cpu import bf16

    if wanted == "bf16" and device == "cpu" and not bf16.native():
        raise PoseDubError(
            "This processor has no instructions for bf16 and would take about a hundred times as long; choose the "
            "precision auto or fp32.",
            ErrorKind.UNSUPPORTED,
        )
