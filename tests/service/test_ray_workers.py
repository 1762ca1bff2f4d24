"""A real Ray cluster makes a server's frames: a head and a worker as `posedub worker` starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_server.files import file_digest
from model_server.pipeline.media.encode import decode_png
from model_server.service.remote import Address, RemoteServer
from tests.cli.commands import Command, one_sentence, posedub
from tests.limits import HANGS
from tests.ray_cluster import RayNode, cluster_address, workers_of
from tests.servers import ServerProcess
from tests.service.test_server import make_request

pytest.importorskip("ray", reason="Ray is not installed: pip install 'posedub[cluster]'")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="clusters are tried on POSIX")
SOON = 60.0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path: Ray's sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="pdray", ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[str]:
    """A head with one place for a worker, and its address."""
    address = cluster_address()
    with RayNode(folder, address):
        yield address


@pytest.fixture(scope="module")
def server(cluster: str, folder: Path) -> Iterator[ServerProcess]:
    options = ["--ray", cluster, "--ray-token", str(folder / "token"), "--precision", "fp32"]
    with ServerProcess(folder / "server", options) as started:
        yield started


def test_a_killed_worker_costs_time_and_no_frame(server: ServerProcess, media: Path, folder: Path) -> None:
    (worker,) = workers_of(server, 1)
    options = {
        "portrait": media / "portrait.png",
        "audio": media / "speech.wav",
        "pose": media / "pose.mp4",
        "crop": "aligned",
        "precision": "fp32",
    }
    with Command("dub", options | {"out": folder / "far", "server": server.address}, {}).started() as process:
        while not any((folder / "far").glob("*.png")):
            assert process.poll() is None, process.rest()
            time.sleep(0.05)
        os.kill(worker, signal.SIGKILL)
        assert process.wait(SOON) == 0, process.rest()
    assert len(workers_of(server, 2)) == 2
    Command("dub", options | {"out": folder / "near", "data": folder / "local"}, {})()
    near, far = (sorted((folder / place).glob("*.png")) for place in ("near", "far"))
    assert len(far) == 55 and [path.name for path in far] == [path.name for path in near]
    assert [path.read_bytes() for path in far] == [path.read_bytes() for path in near]


def test_a_preview_is_drawn_by_a_worker(server: ServerProcess, media: Path) -> None:
    with RemoteServer(Address(server.address)) as remote:
        for name in ("portrait.png", "speech.wav", "pose.mp4"):
            remote.add(file_digest(media / name), media / name)
        png, approximate = remote.preview(make_request(media).spec, 3)
    assert decode_png(png).shape == (224, 224, 3) and approximate
    assert "Traceback" not in server.log.read_text()


def test_a_cluster_that_is_not_there_or_wants_another_token_is_named(cluster: str, folder: Path) -> None:
    (folder / "other").write_text("0" * 64)
    words = ["serve", "--port", "0", "--data", folder / "none", "--ray", cluster, "--ray-token", folder / "other"]
    said = subprocess.run(
        [sys.executable, "-m", "model_server", *map(str, words)], capture_output=True, text=True, timeout=HANGS
    )
    assert said.returncode == 1 and f"The Ray cluster at {cluster} does not answer" in said.stderr


def test_without_ray_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = posedub("serve", "--port", "0", "--data", tmp_path / "data", "--ray", "auto", check=False)
    assert "Ray is not installed; install it: pip install 'posedub[cluster]'." in one_sentence(said)


def test_a_computer_without_the_head_s_token_is_told_so(tmp_path: Path) -> None:
    said = posedub("serve", "--port", "0", "--data", tmp_path / "data", "--ray", "127.0.0.1:1", check=False)
    assert "No token of the Ray cluster is in" in one_sentence(said)
    said = posedub("worker", "--ray", "127.0.0.1:1", "--ray-token", tmp_path / "none", check=False)
    assert f"No token of the Ray cluster is in {tmp_path / 'none'}" in one_sentence(said)
