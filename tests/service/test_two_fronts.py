"""Two servers over one store in PostgreSQL and one folder: one is killed in the middle of a dub, the other ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Command
from tests.gate import Gate
from tests.limits import HANGS
from tests.postgres import new_database
from tests.servers import ServerProcess


@pytest.mark.slow
def test_a_killed_front_s_dub_is_ended_by_the_other(gate: Gate, media: Path, postgres: Path, tmp_path: Path) -> None:
    options = ["--store", new_database(postgres)]
    dub = Command(
        "dub",
        {
            "portrait": media / "portrait.png",
            "audio": media / "speech.wav",
            "pose-mode": "frontal",
            "crop": "aligned",
            "range": "0:30",
            "out": tmp_path / "frames",
        },
        {},
    )
    first, second = (ServerProcess(tmp_path / "shared", options, gate=gate) for _ in range(2))
    with first, gate.closed(), dub.started(server=first.address) as process:
        process.wait_for("frames:")
        second.start()
        first.kill()
        assert process.wait(HANGS) == 1
    try:
        done = dub(server=second.address)
        assert done.returncode == 0, done.stderr
        assert "30 frames" in done.stdout
        log = second.log.read_text()
    finally:
        second.stop()
    assert len(list((tmp_path / "frames").glob("*.png"))) == 30
    assert log.count(": started, frames 0 to 30") == 2 and log.count(": done, 30 frames") == 1
