"""A cluster of two computers, here two addresses of the loopback: whatever is killed, a dub has all its frames."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Command, Following
from tests.conftest import speechlike, write_wav
from tests.gate import Gate
from tests.limits import HANGS
from tests.ray_cluster import PATIENCE, RayNode, cluster_address, said, workers_of
from tests.servers import ServerProcess

pytest.importorskip("ray", reason="Ray is not installed: pip install 'posedub[cluster]'")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="clusters are tried on POSIX")
FRAMES = 300
ROOT = Path(__file__).parents[2]
TOY, GATED = ROOT / "tests/toy_engine", ROOT / "tests/gated_engine"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: Ray's sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="pdray", ignore_cleanup_errors=True) as made:
        yield Path(made)


def await_frames(folder: Path, count: int, process: Following) -> None:
    """Until so many frames have arrived, and not all, as the gate lets no more through."""
    limit = time.monotonic() + HANGS
    while len(list(folder.glob("*.png"))) < count:
        assert process.poll() is None, process.rest()
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert len(list(folder.glob("*.png"))) < FRAMES


def test_actors_a_node_and_the_head_are_killed_in_the_middle_of_a_dub(
    folder: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(TOY))
    monkeypatch.syspath_prepend(str(GATED))
    from gated_engine import GATE, write_weights

    paths = os.pathsep.join(map(str, (GATED, TOY, ROOT)))
    surroundings = {"PYTHONPATH": paths, GATE: str(gate.port)}
    weights = write_weights(folder / "gated.safetensors")
    speech = write_wav(folder / "speech.wav", speechlike(FRAMES / 25))
    dub, address = Command("dub", {"audio": speech, "fps": 25, "weights": weights}, surroundings), cluster_address()
    joining = ["--weights", str(weights), "--ray", address, "--ray-token", str(folder / "token")]
    server = ServerProcess(folder / "server", joining, gate, environment={**PATIENCE, **surroundings})
    far = {"out": folder / "far", "server": server.address}
    head = RayNode(folder, address, environment=surroundings)
    other = RayNode(folder, address, node="127.0.0.2", environment=surroundings)
    # Whoever draws, no process draws more than the gate lets through, and a batch of three at hand: in all less than
    # there are, and what the last one draws is as much as is waited for.
    with head, server:  # which is the head's own computer, where it joins the cluster
        with other, gate.closed(after=16), dub.started(**far) as process:
            first, _ = workers_of(server, 2)
            await_frames(folder / "far", 1, process)
            os.kill(first, signal.SIGKILL)
            with gate.closed(after=60):
                await_frames(folder / "far", 60, process)
                other.kill()
                with gate.closed(after=150):
                    await_frames(folder / "far", 120, process)
                    head.kill()
                    assert server.process.wait(HANGS) != 0
                    process.wait(HANGS)
        assert said(server, rf"the head of the Ray cluster at \S+:{address.rpartition(':')[2]} does not answer")
        assert "out of memory" not in server.log.read_text()
        assert len(list((folder / "far").glob("*.png"))) < FRAMES
        head.start()
        server.start()
        again = dub(**far)
        assert again.returncode == 0, again.stderr
    alone = dub(out=folder / "near", data=folder / "local")
    assert alone.returncode == 0, alone.stderr
    near, far_ = (sorted((folder / place).glob("*.png")) for place in ("near", "far"))
    assert len(near) == FRAMES and [path.name for path in near] == [path.name for path in far_]
    assert [path.read_bytes() for path in near] == [path.read_bytes() for path in far_]
    assert "Traceback" not in server.log.read_text()
