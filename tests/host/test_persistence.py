"""Jobs outlive saving, closing, reopening and crashes of Blender, and of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gate import Gate
from tests.servers import ServerProcess

from .conftest import Blender
from .test_dub import FRAMES, MANY, dub, results, set_up


def test_finished_dub_is_listed_again_after_reopening(dubbing: Blender, media: Path, tmp_path: Path) -> None:
    set_up(dubbing, media)
    dubbing.save(path=str(tmp_path / "edit.blend"))
    strip = dub(dubbing)
    dubbing.save(path=str(tmp_path / "edit.blend"))
    dubbing.new_scene()
    assert dubbing.jobs() == []

    dubbing.load(path=str(tmp_path / "edit.blend"))

    (job,) = dubbing.jobs()
    assert (job["state"], job["saved_end"], job["active"]) == ("done", FRAMES, False)
    assert results(dubbing) == [strip]


def test_running_dub_is_fetched_after_blender_was_quit(
    dubbing: Blender, gate: Gate, server: ServerProcess, media: Path, tmp_path: Path
) -> None:
    sound = set_up(dubbing, media, frames=MANY, seed=5)
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        dubbing.save(path=str(tmp_path / "edit.blend"))
        dubbing.restart()
        dubbing.preferences(mode="address", address=server.address)
        dubbing.load(path=str(tmp_path / "edit.blend"))
        (job,) = dubbing.jobs()
        assert (job["state"], job["active"]) == ("running", False)

    assert dubbing.op(name="fetch", wait=True) == {"result": ["FINISHED"]}

    (strip,) = results(dubbing)
    assert (strip["left"], strip["right"]) == (sound["left"], sound["right"])
    assert len(strip["elements"]) == MANY


def test_dub_is_listed_after_blender_crashed_without_saving(
    dubbing: Blender, gate: Gate, server: ServerProcess, media: Path, tmp_path: Path
) -> None:
    set_up(dubbing, media, seed=10)
    dubbing.save(path=str(tmp_path / "edit.blend"))
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        dubbing.crash()
        dubbing.restart()
        dubbing.preferences(mode="address", address=server.address)
        dubbing.load(path=str(tmp_path / "edit.blend"))
        assert results(dubbing) == []

    assert dubbing.op(name="fetch", wait=True) == {"result": ["FINISHED"]}

    assert len(results(dubbing)[0]["elements"]) == FRAMES
    assert dubbing.op(name="remove") == {"result": ["FINISHED"]}
    dubbing.load(path=str(tmp_path / "edit.blend"))
    assert dubbing.jobs() == []


def test_project_folder_may_move(dubbing: Blender, media: Path, tmp_path: Path) -> None:
    set_up(dubbing, media)
    (tmp_path / "here").mkdir()
    dubbing.save(path=str(tmp_path / "here" / "edit.blend"))
    dub(dubbing)
    dubbing.save(path=str(tmp_path / "here" / "edit.blend"))
    dubbing.new_scene()
    (tmp_path / "here").rename(tmp_path / "there")

    dubbing.load(path=str(tmp_path / "there" / "edit.blend"))

    (job,) = dubbing.jobs()
    assert Path(job["plan"]["folder"]) == tmp_path / "there" / "dubs" / "speech" / "v001"
    assert job["saved_end"] == FRAMES


def test_opening_another_file_leaves_the_job_to_the_server(
    dubbing: Blender, gate: Gate, media: Path, tmp_path: Path
) -> None:
    set_up(dubbing, media, seed=6)
    dubbing.save(path=str(tmp_path / "edit.blend"))
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        dubbing.save(path=str(tmp_path / "edit.blend"))

        dubbing.new_scene()

        assert dubbing.pump() is False
        assert dubbing.strips() == []
    dubbing.load(path=str(tmp_path / "edit.blend"))
    assert dubbing.op(name="fetch", wait=True) == {"result": ["FINISHED"]}
    assert len(results(dubbing)[0]["elements"]) == FRAMES


def test_damaged_job_list_is_ignored(dubbing: Blender, tmp_path: Path) -> None:
    dubbing.set_scene_key(key="posedub_jobs", value='{"book": "[{}]", "placements": 3}')
    dubbing.save_raw(path=str(tmp_path / "edit.blend"))

    dubbing.load(path=str(tmp_path / "edit.blend"))

    assert dubbing.jobs() == []


@pytest.mark.slow
def test_server_killed_in_mid_job_costs_no_frame(dubbing: Blender, media: Path, tmp_path: Path) -> None:
    set_up(dubbing, media, seed=7)
    with ServerProcess(tmp_path / "data") as server:
        dubbing.preferences(mode="address", address=server.address)
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        server.kill()
        server.start()
        jobs = dubbing.finish()

    assert jobs[-1]["state"] == "done"
    assert len(results(dubbing)[0]["elements"]) == FRAMES
