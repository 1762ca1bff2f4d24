"""The head model's archive is what the files of FaceXModel say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_server.cli.main import main
from model_server.errors import PoseDubError
from model_server.synthetic.face_x_model import head_archive


@pytest.fixture
def told(ball_path: Path) -> dict[str, np.ndarray]:
    return dict(np.load(ball_path))


@pytest.fixture
def folder(told: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """The archive's shapes as Wavefront OBJ, as ICT-FaceKit has them."""
    made = tmp_path / "FaceXModel"
    made.mkdir()
    shapes = {f"identity{k:03}": offset for k, offset in enumerate(told["ids"])}
    shapes |= dict(zip(told["names"], told["ex"], strict=True)) | {"generic_neutral_mesh": np.float32(0)}
    for name, offset in shapes.items():
        write_obj(made / f"{name}.obj", told["n"] + np.float32(offset), told)
    return made


def write_obj(path: Path, vertices: np.ndarray, told: dict[str, np.ndarray]) -> None:
    lines = ["# a shape", "", *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices)]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in told["VT"]]
    material = ""
    for corners, uv, name in zip(told["F"], told["FT"], told["M"], strict=True):
        if name != material:
            lines.append(f"usemtl {name}")
            material = name
        lines.append(" ".join(["f", *(f"{a + 1}/{b + 1}/{a + 1}" for a, b in zip(corners, uv, strict=True) if a >= 0)]))
    path.write_text("\n".join(lines) + "\n")


def test_it_is_what_the_files_say(folder: Path, told: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert main(["corpus", "head", str(folder), "--out", str(tmp_path / "ict.npz")]) == 0
    made = dict(np.load(tmp_path / "ict.npz"))
    assert made.keys() == told.keys()
    for name in ("F", "FT", "M", "names"):
        assert (made[name] == told[name]).all(), name
    for name in ("n", "VT", "ids", "ex"):
        np.testing.assert_allclose(made[name], told[name], atol=5e-4, err_msg=name)


def test_a_folder_without_shapes_is_named(folder: Path, told: dict[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="FaceXModel of a copy of ICT-FaceKit"):
        head_archive(tmp_path)
    (tmp_path / "generic_neutral_mesh.obj").symlink_to(folder / "generic_neutral_mesh.obj")
    with pytest.raises(PoseDubError, match="no identities or no expressions"):
        head_archive(tmp_path)
    (tmp_path / "identity000.obj").symlink_to(folder / "identity000.obj")
    (tmp_path / "jawOpen.obj").write_text("v 1 2 3\n")
    with pytest.raises(PoseDubError, match=r"jawOpen\.obj has another number of vertices"):
        head_archive(tmp_path)
