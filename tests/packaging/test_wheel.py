"""The server's wheel: everything that the code reads beside itself is in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import build_addon
from blender_addon.packaging import server_parts
from model_server.engines import shipped

pytestmark = pytest.mark.slow

ROOT = Path(build_addon.__file__).parent
WEIGHTS = (shipped.FILE, shipped.RECOGNISER, shipped.RECORD)
BUILD = "import sys; sys.path.insert(0, 'protos'); import backend; backend.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources with weights in the package, whether or not it has some of its own."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("protos", "model_server"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "stubs"))
    data = folder / shipped.DATA.relative_to(ROOT)
    data.mkdir(exist_ok=True)
    for name in WEIGHTS:
        (data / name).write_bytes(b"trained")
    return folder


@pytest.fixture(scope="module")
def packed(source: Path) -> dict[str, bytes]:
    """Content of the wheel by name."""
    made = subprocess.run([sys.executable, "-c", BUILD, "dist"], cwd=source, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_trained_weights_are_packed(packed: dict[str, bytes]) -> None:
    folder = shipped.DATA.relative_to(ROOT).as_posix()
    assert [packed[f"{folder}/{name}"] for name in WEIGHTS] == [b"trained"] * len(WEIGHTS)


def test_every_file_of_the_package_is_packed(source: Path, packed: dict[str, bytes]) -> None:
    files = {path.relative_to(source).as_posix() for path in (source / "model_server").rglob("*") if path.is_file()}
    kept = {name for name in files if "__pycache__" not in name and not name.endswith(".pyi")}
    assert {name for name in packed if ".dist-info/" not in name} >= kept
    assert {"model_server/jobs/schema.sql", "model_server/service/stubs/dubbing_pb2.py"} <= kept


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the add-on's zip carries, installed by pip into a folder of its own; the rest is this Python's."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = server_parts.server_wheel(tmp_path_factory.mktemp("wheel"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*pip, str(wheel)], check=True)
    return folder


def test_the_installed_wheel_dubs(installed: Path, media: Path, tmp_path: Path) -> None:
    inputs = ["--portrait", ROOT / "tests" / "demo" / "inputs" / "portrait.png", "--audio", media / "speech.wav"]
    options = ["--pose-mode", "frontal", "--range", "0:1", "--data", tmp_path / "data", "--out", tmp_path / "frames"]
    made = subprocess.run(
        [installed / "bin" / "posedub", "dub", *inputs, *options],
        cwd=installed,  # far away from the sources
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert len(list((tmp_path / "frames").glob("*.png"))) == 1


@pytest.mark.parametrize("name", WEIGHTS)
def test_git_takes_the_weights(name: str) -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a Git checkout")
    asked = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", str(shipped.DATA / name)], cwd=ROOT)
    assert asked.returncode == 1
