"""Small real media for all tests, made on the spot: no person's likeness, no downloads."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from model_server.engines.pose_map import PoseMap
from tests import postgres as postgresql
from tests.gate import Gate

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does, before torch is imported
RATE = 22050


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    """Mono 16-bit WAV of samples in [-1, 1]."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def speechlike(seconds: float, rate: int = RATE) -> np.ndarray:
    """A buzz with syllables: harmonics of 120 Hz under a 4 Hz envelope."""
    t = np.arange(round(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 120 * n * t) / n for n in range(1, 20))
    return 0.2 * buzz * (0.5 - 0.5 * np.cos(2 * np.pi * 4 * t))


def drawn_head(turn: float = 0.0, size: int = 224) -> np.ndarray:
    """A drawing laid out like an aligned crop; `turn` in [-1, 1] moves its features sideways."""
    y, x = np.mgrid[:size, :size] * (224 / size)
    picture = np.full((size, size, 3), (70, 90, 110), np.uint8)
    picture[((x - 112) / 70) ** 2 + ((y - 95) / 90) ** 2 < 1] = (200, 160, 130)
    for cx, cy, rx, ry, colour in ((87, 59, 9, 5, 30), (137, 59, 9, 5, 30), (112, 120, 18, 6, 90)):
        picture[((x - cx - 12 * turn) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = colour
    return picture


@pytest.fixture(scope="session")
def gate() -> Iterator[Gate]:
    """Where the dubs of servers and commands wait that were started with it."""
    made = Gate()
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """Folder of the socket of a PostgreSQL server."""
    with postgresql.running() as socket:
        yield socket


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with portrait.png and pose.mp4 (aligned drawings) and speech.wav (2.2 s)."""
    folder = tmp_path_factory.mktemp("media")
    Image.fromarray(drawn_head()).save(folder / "portrait.png")
    write_wav(folder / "speech.wav", speechlike(2.2))
    write_movie(folder / "pose.mp4", [drawn_head(np.sin(k / 5)) for k in range(30)], Fraction(25))
    return folder


@pytest.fixture(scope="session")
def untrained_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file with the built-in untrained values: the default may be trained."""
    from model_server.engines.pcavs.untrained import untrained_state
    from model_server.engines.pcavs.weights import write_weights

    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    write_weights(path, untrained_state("lite"), "lite", "untrained", "untrained lite")
    return path


@pytest.fixture(scope="session")
def pose_map() -> PoseMap:
    """Head angles in the first three numbers of a code, each leaking a little into the next one."""
    to_code = np.eye(3, 12) / 32 + np.eye(3, 12, 1) / 256
    to_angles = 30 * np.eye(12, 3)
    return PoseMap(*(part.tolist() for part in (to_code, np.zeros(12), to_angles, np.zeros(3), np.full(3, 1.5))))


@pytest.fixture(scope="session")
def posed_weights(tmp_path_factory: pytest.TempPathFactory, pose_map: PoseMap) -> Path:
    """A weights file with untrained values that says how head angles and pose codes correspond."""
    from model_server.engines.pcavs.untrained import untrained_state
    from model_server.engines.pcavs.weights import write_weights

    path = tmp_path_factory.mktemp("weights") / "posed.safetensors"
    write_weights(path, untrained_state("lite"), "lite", "untrained", "posed", pose_map=pose_map)
    return path


@pytest.fixture(scope="session")
def lid_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained values with lids that, as no training would have them, move everything."""
    import torch

    from model_server.engines.pcavs.untrained import untrained_state
    from model_server.engines.pcavs.weights import write_weights
    from model_server.networks.pcavs.model import parameter_shapes
    from model_server.networks.pcavs.presets import PRESETS

    state, chance = untrained_state("lite"), torch.Generator().manual_seed(1)
    shapes = parameter_shapes(replace(PRESETS["lite"], lids=True))
    state |= {n: torch.randn(shape, generator=chance) * 0.1 for n, shape in shapes.items() if n not in state}
    path = tmp_path_factory.mktemp("weights") / "lids.safetensors"
    write_weights(path, state, "lite", "untrained", "lids")
    return path


def write_movie(path: Path, pictures: list[np.ndarray], fps: Fraction) -> Path:
    """H.264 movie without sound."""
    with av.open(str(path), "w") as movie:
        track = movie.add_stream("libx264", rate=fps, options={"crf": "10"})
        track.height, track.width = pictures[0].shape[:2]
        track.pix_fmt = "yuv420p"
        for picture in pictures:
            movie.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        movie.mux(track.encode(None))
    return path
