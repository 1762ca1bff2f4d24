"""Reads wav2vec 2.0 base out of a file that the user has: its authors' checkpoint, or one for transformers.

Its weights are not part of the project. An actor that was trained with them holds them in its own file.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.dae_talker.wav2vec2 import BASE, Wav2Vec2, Wav2Vec2Size
from model_server.networks.dae_talker.wav2vec2_keys import published_state

# Where checkpoints keep their tensors among other things.
_PARTS = ("model", "state_dict", "model_weight")
# What the authors' checkpoints hold besides tensors, and torch's restricted loader would refuse.
_HARMLESS: list[Any] = [argparse.Namespace]


def read_wav2vec2(path: Path, size: Wav2Vec2Size = BASE) -> Wav2Vec2:
    """The network in a safetensors file or a PyTorch checkpoint, for inference.

    Args:
        size: that it must have.

    Raises:
        PoseDubError: missing, unreadable, asking to run code, or another network.
    """
    if not path.is_file():
        raise PoseDubError(f"There is no wav2vec 2.0 file at {path}; check the path.", ErrorKind.NOT_FOUND)
    try:
        state = published_state(_tensors(path), size)
    except ValueError as problem:
        raise PoseDubError(
            f"The file {path} holds no wav2vec 2.0 base ({problem}); get wav2vec_small.pt of its authors, or "
            "wav2vec2-base for transformers.",
            ErrorKind.UNSUPPORTED,
        ) from problem
    network = Wav2Vec2(size)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_HARMLESS):
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as problem:
        raise PoseDubError(
            f"The file {path} cannot be read: it is damaged, or asks to run code, which was refused; get it again.",
            ErrorKind.CORRUPT,
        ) from problem
    for part in _PARTS:
        found = found[part] if isinstance(found, dict) and isinstance(found.get(part), dict) else found
    if not isinstance(found, dict):
        raise ValueError("it is no set of tensors")
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
