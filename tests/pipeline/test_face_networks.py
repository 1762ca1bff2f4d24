"""The face networks see in pictures what MediaPipe's own program sees with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.faces import network
from model_server.pipeline.faces.detector import Detection
from model_server.pipeline.faces.models import Mesh, Models
from tests.fixtures.faces.record import FILE, VERTICES, pictures

Found = tuple[list[Detection], list[Detection], list[Mesh]]


@cache
def found() -> list[Found]:
    """Near and far detections, and meshes, of each picture."""
    ready = Models()
    return [(ready.near(picture), ready.far(picture), ready.meshes(picture)) for picture in pictures()]


def recorded(name: str) -> tuple[list[int], np.ndarray]:
    """How many faces each picture has, and the rows of all of them."""
    with np.load(FILE) as file:
        return file[f"{name}_counts"].tolist(), file[name]


@pytest.mark.parametrize(("name", "number"), [("near", 0), ("far", 1)])
def test_same_detections(name: str, number: int) -> None:
    counts, rows = recorded(name)
    seen = [one[number] for one in found()]
    assert len(seen) == 200 and [len(faces) for faces in seen] == counts
    made = np.array([[d.score, *d.box, *d.points.ravel()] for faces in seen for d in faces])
    assert np.abs(made[:, 0] - rows[:, 0]).max() < 0.01
    assert np.abs(made[:, 1:] - rows[:, 1:]).max() < 0.5


def test_same_meshes() -> None:
    counts, rows = recorded("mesh")
    assert [len(meshes) for _, _, meshes in found()] == counts
    made = np.array([mesh.points[::VERTICES] for _, _, meshes in found() for mesh in meshes])
    distances = np.linalg.norm(made - rows.reshape(made.shape), axis=2)
    assert distances.mean() < 0.1 and distances.max() < 1


def test_a_damaged_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "face_landmark.tflite").write_bytes(b"no network")
    monkeypatch.setattr(network, "_DATA", tmp_path)
    for name in ("face_landmark", "missing"):
        with pytest.raises(PoseDubError, match=r"\.tflite is missing or damaged .*install PoseDub again") as caught:
            network.FaceNetwork(name, low=0)
        assert caught.value.kind is ErrorKind.CORRUPT
