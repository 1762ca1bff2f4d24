"""Full-size networks filled by the published names, and what the published networks answered with the same values."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model_server.networks.pcavs.checkpoint_keys import published_key
from model_server.networks.pcavs.model import Networks, build, parameter_shapes
from model_server.networks.pcavs.optimized import optimize

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pcavs"
sys.path.insert(0, str(FIXTURES))

from name_seeded_weights import manifest, tensor  # noqa: E402


@pytest.fixture(scope="session")
def golden() -> Mapping[str, NDArray]:
    return np.load(FIXTURES / "golden_networks.npz")


@pytest.fixture(scope="session", params=["as trained", "prepared"])
def networks(request: pytest.FixtureRequest) -> Networks:
    """The networks in both of their forms."""
    shapes = manifest()

    def value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        network, key = published_key(name)
        return torch.from_numpy(tensor(network, key, tuple(shapes[network][key]))).reshape(shape)

    made = build("full", {name: value(name, shape) for name, shape in parameter_shapes("full").items()})
    return optimize(made) if request.param == "prepared" else made
