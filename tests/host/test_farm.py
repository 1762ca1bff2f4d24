"""Dubs that are sent to a farm: nobody waits for them here, and their results are fetched later."""

from __future__ import annotations

from pathlib import Path

from tests.gate import Gate

from .conftest import Blender
from .test_dub import FRAMES, results, set_up


def test_what_was_sent_is_fetched_after_the_file_was_opened_again(
    dubbing: Blender, gate: Gate, media: Path, tmp_path: Path
) -> None:
    set_up(dubbing, media, seed=77)
    dubbing.save(path=str(tmp_path / "edit.blend"))
    with gate.closed(after=0):
        assert dubbing.op(name="send_to_farm", wait=True) == {"result": ["FINISHED"]}
        (job,) = dubbing.jobs()
        assert (job["state"], job["active"], job["sent"], bool(job["job_id"])) == ("running", False, False, True)
        assert results(dubbing) == []
        shown = dubbing.panel(name="POSEDUB_PT_jobs")
        assert f"0/{FRAMES} frames, left to the server" in shown
        assert {"[posedub.fetch_all]", "[posedub.send_to_farm]"} <= set(shown)
        dubbing.save(path=str(tmp_path / "edit.blend"))
        dubbing.new_scene()
        dubbing.load(path=str(tmp_path / "edit.blend"))

    assert dubbing.op(name="fetch_all", wait=True) == {"result": ["FINISHED"]}

    (strip,) = results(dubbing)
    assert len(strip["elements"]) == FRAMES
    assert "No dub of this file was left" in str(dubbing.op(name="fetch_all"))
