"""Reproducible untrained weights: each tensor is drawn from a generator seeded by its name.

They let everything run before trained weights exist. The scales keep signals near unit size, so that what is painted is
neither flat nor saturated and follows sound and pose. A preset that warps shows its portrait, standing still under the
paint; the other one shows no likeness of anybody.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_server.networks.pcavs.lower_face import COVER_BIAS
from model_server.networks.pcavs.model import parameter_shapes

RECIPE = "untrained-3"


def untrained_state(preset: str) -> dict[str, Tensor]:
    """Tensors for `model_server.networks.pcavs.model.build`."""
    return {name: torch.from_numpy(_value(preset, name, shape)) for name, shape in parameter_shapes(preset).items()}


def _value(preset: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if name.endswith(("running_var", "modulation.bias", "mask_head.bias")):
        return np.ones(shape, np.float32)
    if name.endswith("cover_head.bias"):
        return np.full(shape, COVER_BIAS, np.float32)
    if name.endswith(("running_mean", "bias")) or _warps(name):
        return np.zeros(shape, np.float32)
    if name.endswith("noise_strength"):
        return np.full(shape, 0.05, np.float32)
    if len(shape) == 1:
        return np.full(shape, _norm_scale(name), np.float32)
    seed = hashlib.sha256(f"{RECIPE}/{preset}/{name}".encode()).digest()[:8]
    normal = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little"))).standard_normal(shape)
    return (normal * _deviation(name, shape)).astype(np.float32)


def _warps(name: str) -> bool:
    """Flows and mask are the same everywhere until they are trained: chance would only tear the portrait."""
    return name.startswith(("generator.", "lower_face.")) and "_head." in name and ".paint_head." not in name


def _norm_scale(name: str) -> float:
    """Residual branches are damped, or deep networks would amplify their input without bound."""
    return 0.3 if ".expand." in name or ".second." in name or ".branches." in name else 1.0


def _deviation(name: str, shape: tuple[int, ...]) -> float:
    if name.startswith("generator."):
        return 0.1 if "rgb.conv.weight" in name else 1.0
    return math.sqrt(2 / math.prod(shape[1:]))
