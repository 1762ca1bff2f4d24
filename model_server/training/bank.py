"""What a network that learns no more says of the data, made once and kept beside a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model_server.files import replacing


class Bank:
    """Values by name in a folder of their own for each state of a network.

    Args:
        run: folder of the run.
        network: what reads; other weights of it make another bank.
        kind: tells banks of one network apart.
    """

    def __init__(self, run: Path, network: nn.Module, kind: str = "") -> None:
        self.place = run / "features" / (digest(network) + kind)
        self.place.mkdir(parents=True, exist_ok=True)

    def value(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What the bank holds under a name, made now if nothing is there yet."""
        path = self.place / f"{name}.safetensors"
        if path.is_file():
            return load_file(path)
        made = {kind: value.cpu().contiguous() for kind, value in make().items()}
        with replacing(path) as part:
            save_file(made, part)
        return made


def digest(network: nn.Module) -> str:
    """Hash of a network's weights."""
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        found.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
