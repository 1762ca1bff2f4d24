"""Two Blender processes that use one managed server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import free_port

from .conftest import Blender
from .test_dub import results, set_up
from .test_server import POSEDUB

FRAMES = 150


@pytest.fixture
def both(addon_zip: Path, tmp_path: Path) -> Iterator[list[Blender]]:
    """Two processes with the same preferences."""
    workers, port = [], free_port()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        workers.append(Blender(addon_zip, tmp_path / name))
        workers[-1].new_scene()
        workers[-1].preferences(
            mode="local", executable=str(POSEDUB), port=port, data_dir=str(tmp_path / "data"), token="", tls_ca=""
        )
    yield workers
    workers[1].stop_server_and_wait()
    assert workers[1].end() == 0


@pytest.mark.parametrize("leave", [Blender.end, Blender.crash], ids=["closed", "killed"])
def test_a_dub_goes_on_when_the_blender_that_started_the_server_ends(
    both: list[Blender], media: Path, leave: Callable[[Blender], object]
) -> None:
    one, two = both
    assert one.op(name="server_start", wait=True) == {"result": ["FINISHED"]}
    set_up(two, media, frames=FRAMES, seed=40)
    two.op(name="dub")
    two.pump_until_saved(frames=2)
    assert (one.server()["owned"], two.server()["owned"]) == (True, False)

    leave(one)
    job = two.finish()[-1]

    assert (job["state"], job["error"]) == ("done", "")
    assert len(results(two)[0]["elements"]) == FRAMES
    assert two.server()["owned"] and two.server()["problem"] == ""
