"""Two Blender processes that use one managed server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gate import Gate
from tests.servers import free_port, wait_until_stopping

from .conftest import Blender
from .test_dub import MANY, results, set_up

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def posedub(gate: Gate, tmp_path: Path) -> Path:
    """The command, of which each server's dubs wait at the gate."""
    command = tmp_path / "posedub"
    command.write_text(f"#!/bin/sh\ncd '{ROOT}' && exec '{sys.executable}' -m tests.gate {gate.port} \"$@\"\n")
    command.chmod(0o755)
    return command


@pytest.fixture
def port() -> int:
    """Of the managed server."""
    return free_port()


@pytest.fixture
def both(addon_zip: Path, posedub: Path, port: int, tmp_path: Path) -> Iterator[list[Blender]]:
    """Two processes with the same preferences."""
    workers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        workers.append(Blender(addon_zip, tmp_path / name))
        workers[-1].new_scene()
        workers[-1].preferences(
            mode="local", executable=str(posedub), port=port, data_dir=str(tmp_path / "data"), token="", tls_ca=""
        )
    yield workers
    workers[1].stop_server_and_wait()
    assert workers[1].end() == 0


@pytest.mark.parametrize("leave", [Blender.end, Blender.crash], ids=["closed", "killed"])
def test_a_dub_goes_on_when_the_blender_that_started_the_server_ends(
    both: list[Blender], port: int, gate: Gate, media: Path, leave: Callable[[Blender], object]
) -> None:
    one, two = both
    assert one.op(name="server_start", wait=True) == {"result": ["FINISHED"]}
    set_up(two, media, frames=MANY, seed=40)
    with gate.closed():
        two.op(name="dub")
        two.pump_until_saved(frames=1)
        assert (one.server()["owned"], two.server()["owned"]) == (True, False)

        leave(one)
        wait_until_stopping(f"127.0.0.1:{port}")
    job = two.finish()[-1]

    assert (job["state"], job["error"]) == ("done", "")
    assert len(results(two)[0]["elements"]) == MANY
    assert two.server()["owned"] and two.server()["problem"] == ""
