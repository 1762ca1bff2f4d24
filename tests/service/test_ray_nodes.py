"""A cluster of two computers, here two addresses of the loopback: whatever is killed, a dub has all its frames."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Command, Following
from tests.conftest import speechlike, write_wav
from tests.limits import HANGS
from tests.ray_cluster import PATIENCE, RayNode, cluster_address, workers_of
from tests.servers import ServerProcess

pytest.importorskip("ray", reason="Ray is not installed: pip install 'posedub[cluster]'")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="clusters are tried on POSIX")
FRAMES = 300


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: Ray's sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="pdray", ignore_cleanup_errors=True) as made:
        yield Path(made)


def await_frames(folder: Path, count: int, process: Following) -> None:
    """Until so many frames have arrived, and not all."""
    limit = time.monotonic() + HANGS
    while len(list(folder.glob("*.png"))) < count:
        assert process.poll() is None, process.rest()
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert len(list(folder.glob("*.png"))) < FRAMES


def test_actors_a_node_and_the_head_are_killed_in_the_middle_of_a_dub(media: Path, folder: Path) -> None:
    options = {
        "portrait": media / "portrait.png",
        "audio": write_wav(folder / "speech.wav", speechlike(FRAMES / 25)),
        "pose-mode": "frontal",
        "crop": "aligned",
        "fps": 25,
        "precision": "fp32",
    }
    dub, address = Command("dub", options, {}), cluster_address()
    joining = ["--ray", address, "--ray-token", str(folder / "token"), "--precision", "fp32"]
    server = ServerProcess(folder / "server", joining, environment=PATIENCE)
    far = {"out": folder / "far", "server": server.address}
    with RayNode(folder, address) as head, server:  # which is the server's own computer, where it joins the cluster
        with RayNode(folder, address, node="127.0.0.2") as other, dub.started(**far) as process:
            first, second = workers_of(server, 2)
            await_frames(folder / "far", 1, process)
            os.kill(first, signal.SIGKILL)
            await_frames(folder / "far", 60, process)
            other.kill()
            await_frames(folder / "far", 120, process)
            head.kill()
            assert server.process.wait(HANGS) != 0
            process.wait(HANGS)
        said = server.log.read_text()
        assert re.search(rf"the head of the Ray cluster at \S+:{address.rpartition(':')[2]} does not answer", said)
        assert "out of memory" not in said
        assert len(list((folder / "far").glob("*.png"))) < FRAMES
        head.start()
        server.start()
        assert dub(**far).returncode == 0
    assert dub(out=folder / "near", data=folder / "local").returncode == 0
    near, far_ = (sorted((folder / place).glob("*.png")) for place in ("near", "far"))
    assert len(near) == FRAMES and [path.name for path in near] == [path.name for path in far_]
    assert [path.read_bytes() for path in near] == [path.read_bytes() for path in far_]
    assert "Traceback" not in server.log.read_text()
