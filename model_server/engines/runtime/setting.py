"""What decides an engine's pictures besides requests and precision: code, weights, and the order of additions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

import model_server.networks
from model_server import head_rotation
from model_server.engines import pose_map
from model_server.engines.base import WeightsInfo
from model_server.engines.device import device_name
from model_server.networks.cpu.compiler import AVAILABLE

# What decides how heads turn, too.
_SHARED = pose_map, head_rotation


def setting(name: str, weights: WeightsInfo, device: str, own: Path, networks: Sequence[str]) -> str:
    """Short text that names all this.

    Args:
        name: of the engine.
        device: "cpu" or "cuda".
        own: the engine's folder.
        networks: folders of `networks` that it uses.
    """
    versions = f"code={_code_revision(own, networks)} torch={torch.__version__}"
    return f"{name} {versions} weights={weights.id} {device} ({_arithmetic(device)})"


def _arithmetic(device: str) -> str:
    if device != "cpu":
        return device_name(device)
    matrices = "amx" if torch.cpu.get_capabilities().get("amx_bf16") else "vectors"
    loops = "compiled" if AVAILABLE else "plain"
    return f"{torch.backends.cpu.get_cpu_capability()} {matrices} {loops}"


def _code_revision(own: Path, networks: Sequence[str]) -> str:
    """Digest of the code that decides pictures, so that a change cannot be forgotten."""
    folder = Path(model_server.networks.__file__).parent
    files = [file for part in (*(folder / name for name in networks), own) for file in sorted(part.rglob("*.py"))]
    files += [Path(str(module.__file__)) for module in _SHARED]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
