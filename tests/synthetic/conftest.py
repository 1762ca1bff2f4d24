"""A ball-shaped stand-in for the parametric head, and the real one where POSEDUB_ICT names ICT-FaceKit's ict.npz."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from model_server.synthetic.actor import Actor, Detail, make_actor
from model_server.synthetic.head import HeadModel, load_head

SIDE = 90


def ball_archive() -> dict[str, np.ndarray]:
    """A quad sphere of radius 9 cm in the layout of ict.npz, with one quad given as a triangle."""
    polar, around = np.meshgrid(np.linspace(0.02, np.pi - 0.02, SIDE), np.linspace(0, 2 * np.pi, SIDE), indexing="ij")
    points = 9.0 * np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], -1)
    row, column = np.mgrid[0 : SIDE - 1, 0 : SIDE - 1]
    corner = (row * SIDE + column).ravel()
    quads = np.stack([corner, corner + SIDE, corner + SIDE + 1, corner + 1], 1).astype(np.int32)
    quads[0, 3] = -1
    vertices = points.reshape(-1, 3).astype(np.float32)
    names = np.where(vertices[quads[:, 0], 2] > 0, "M_Face", "M_BackHead").astype("U15")
    names[-5:] = "M_EyeLashes"
    rng = np.random.default_rng(0)
    return {
        "n": vertices,
        "ids": rng.normal(0, 0.1, (4, len(vertices), 3)).astype(np.float16),
        "ex": rng.normal(0, 0.1, (2, len(vertices), 3)).astype(np.float16),
        "names": np.array(["jawOpen", "mouthClose"]),
        "VT": np.stack([around.ravel() / (2 * np.pi) * 0.99 + 1.0, polar.ravel() / np.pi], 1).astype(np.float32),
        "F": quads,
        "FT": quads,
        "M": names,
    }


@pytest.fixture(scope="session")
def ball_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("head") / "ball.npz"
    np.savez(path, **ball_archive())
    return path


@pytest.fixture(scope="session")
def real_head() -> HeadModel:
    path = os.environ.get("POSEDUB_ICT")
    if not path:
        pytest.skip("POSEDUB_ICT does not name ICT-FaceKit's ict.npz")
    return load_head(Path(path))


@pytest.fixture(scope="session")
def actor(real_head: HeadModel) -> Actor:
    return make_actor(real_head, 5, Detail(texture=256, strands=1500))
