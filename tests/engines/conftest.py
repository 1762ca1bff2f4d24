"""A checkpoint laid out like the published one, and engines to ask."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.engines.base import Engine
from model_server.engines.pcavs.weights import untrained
from model_server.engines.weights import load_engine

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pcavs"
sys.path.insert(0, str(FIXTURES))

from legacy_checkpoint import published_entries, save_legacy  # noqa: E402
from name_seeded_weights import manifest  # noqa: E402


@pytest.fixture(scope="session")
def golden() -> Mapping[str, NDArray]:
    return np.load(FIXTURES / "golden_networks.npz")


@pytest.fixture(scope="session")
def lite() -> Engine:
    return load_engine(untrained("lite"), "cpu", "fp32")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the four networks of a checkpoint."""
    folder = tmp_path_factory.mktemp("checkpoint")
    for network in manifest():
        save_legacy(published_entries(network), folder / f"latest_net_{network}.pth")
    return folder


@pytest.fixture
def without(checkpoint: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Call with a network: a copy of the checkpoint without its file; returns the path that the file would have."""

    def copy(network: str) -> Path:
        folder = tmp_path / "altered"
        folder.mkdir()
        for file in checkpoint.iterdir():
            if file.name != f"latest_net_{network}.pth":
                os.link(file, folder / file.name)
        return folder / f"latest_net_{network}.pth"

    return copy
