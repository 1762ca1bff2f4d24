"""An actor of a few thousand parameters who was never trained, and sounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model_server.engines.dae_talker.engine import DaeTalkerEngine
from model_server.engines.dae_talker.untrained import write_untrained
from model_server.engines.weights import describe, load_engine


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks are slower on several cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def actor_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(tmp_path_factory.mktemp("actor") / "toy.safetensors")


@pytest.fixture(scope="package")
def engine(actor_file: Path) -> DaeTalkerEngine:
    made = load_engine(describe(actor_file), "cpu")
    assert isinstance(made, DaeTalkerEngine)
    return made


class Noise:
    """Loud and soft noise of any length, each second from its own seed."""

    rms = 0.1

    def __init__(self, changed: int | None = None) -> None:
        """Of a `changed` second the noise is another one."""
        self._changed = changed

    def read(self, first: int, count: int) -> NDArray[np.float32]:
        seconds = range(first // 16000, (first + count) // 16000 + 1)
        whole = np.concatenate([self._second(second) for second in seconds])
        return whole[first - seconds.start * 16000 :][:count]

    def _second(self, second: int) -> NDArray[np.float32]:
        if second < 0:
            return np.zeros(16000, np.float32)
        random = np.random.default_rng([second, second == self._changed])
        return (0.1 * random.random() * random.standard_normal(16000)).astype(np.float32)


@pytest.fixture(scope="package")
def noise() -> type[Noise]:
    return Noise
