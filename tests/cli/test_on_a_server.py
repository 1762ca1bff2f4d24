"""A dub on a server: what is never sent, what is said about it, and how it ends with either side."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_server.jobs.model import JobState
from model_server.jobs.store import Store
from tests.cli.commands import Command, one_sentence
from tests.gate import Gate
from tests.limits import HANGS
from tests.pipeline.conftest import scene
from tests.pipeline.makers import write_movie
from tests.servers import ServerProcess

posix_only = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture(scope="module")
def server(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("serving") / "server", gate=gate) as started:
        yield started


@pytest.fixture
def dub(server: ServerProcess, media: Path, tmp_path: Path) -> Command:
    options = {
        "portrait": media / "portrait.png",
        "audio": media / "speech.wav",
        "pose-mode": "frontal",
        "crop": "aligned",
        "server": server.address,
        "out": tmp_path / "frames",
    }
    return Command("dub", options, {})


@posix_only
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_command_that_ends_early_ends_its_dub_on_the_server(
    dub: Command, gate: Gate, server: ServerProcess, tmp_path: Path, name: str
) -> None:
    number, seed = signal.Signals[name], 100 + signal.Signals[name]
    with gate.closed(), dub.started(seed=seed) as process:
        process.wait_for("frames:")
        process.send_signal(number)
        assert process.wait(HANGS) == 128 + number
        assert "Traceback" not in process.rest()
        newest = Store(server.data).jobs(1)[0]
        assert newest.request.spec.seed == seed and newest.state is JobState.CANCELLED
    assert dub(seed=seed, range="0:9").returncode == 0
    assert len(list((tmp_path / "frames").glob("*.png"))) == 9


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_numbers_that_messages_cannot_hold(dub: Command, tmp_path: Path, seed: int) -> None:
    near = one_sentence(dub(seed=seed, server=None, data=tmp_path / "data"))
    assert near == one_sentence(dub(seed=seed)) == f"posedub: The seed {seed} is outside 0 to 2^64 - 1."


@pytest.mark.slow
@posix_only
def test_a_server_that_is_killed_meanwhile(dub: Command, gate: Gate, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "server", gate=gate) as server:
        with gate.closed(), dub.started(server=server.address) as process:
            process.wait_for("frames:")
            server.kill()
            assert process.wait(HANGS) == 1
            said = process.rest().splitlines()[-1]
        assert f"The PoseDub server at {server.address} is gone; start it again" in said
        assert "the same command goes on from there" in said
        server.start()
        assert dub(server=server.address, range="0:9").returncode == 0


def test_an_empty_file_is_named_before_it_is_sent(dub: Command, tmp_path: Path) -> None:
    (tmp_path / "blank.png").touch()
    assert one_sentence(dub(portrait=tmp_path / "blank.png")).startswith("posedub: The file blank.png is empty;")


def test_footage_is_called_that_where_it_is_portrait_and_pose_too(dub: Command, media: Path, tmp_path: Path) -> None:
    footage = write_movie(tmp_path / "meadow.mp4", [scene(320, 180)] * 5)
    into = {"into": footage, "portrait": None, "pose-mode": None, "crop": None}
    assert one_sentence(dub(**into)).startswith("posedub: No face was found in the footage; choose another one")
    assert "The file speech.wav has no pictures" in one_sentence(dub(**into | {"into": media / "speech.wav"}))
