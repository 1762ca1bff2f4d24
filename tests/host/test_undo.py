"""Undo, redo, and scenes that go away while dubs run: no job is lost, and none disturbs another."""

from __future__ import annotations

from pathlib import Path

from tests.gate import Gate

from .conftest import Blender
from .test_dub import FRAMES, MANY, dub, results, set_up


def test_undo_to_before_the_sequencer_and_redo_keep_the_dub(dubbing: Blender, gate: Gate, media: Path) -> None:
    dubbing.start_without_sequencer()
    sound = set_up(dubbing, media, frames=MANY, seed=720)
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)

        steps = dubbing.undo_all()
    jobs = dubbing.finish()

    assert (jobs[-1]["state"], jobs[-1]["saved_end"], jobs[-1]["error"]) == ("done", MANY, "")
    assert dubbing.draw_all() >= 6
    shown = " ".join(dubbing.panel(name="POSEDUB_PT_jobs"))
    assert '" has no sequencer now. The frames lie in' in shown
    dubbing.redo_all(steps=steps)
    dubbing.finish()
    (strip,) = results(dubbing)
    assert (strip["left"], len(strip["elements"])) == (sound["left"], MANY)
    assert "no sequencer" not in " ".join(dubbing.panel(name="POSEDUB_PT_jobs"))


def test_a_dub_that_ends_after_an_undo_leaves_the_redo(dubbing: Blender, gate: Gate, media: Path) -> None:
    set_up(dubbing, media, frames=MANY, seed=721)
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        dubbing.set_strip(name="face", mute=True)

        dubbing.undo()
    assert dubbing.finish()[-1]["state"] == "done"

    assert dubbing.may_redo()
    assert len(results(dubbing)[0]["elements"]) == MANY
    dubbing.redo()
    dubbing.finish()
    muted = {strip["name"]: strip["mute"] for strip in dubbing.strips()}
    assert muted["face"] and len(results(dubbing)[0]["elements"]) == MANY
    dubbing.undo()  # the dub, which is a step of its own now
    assert {strip["name"]: strip["mute"] for strip in dubbing.strips()}["face"]


def test_undo_past_the_beginning_of_a_dub_and_redo(dubbing: Blender, gate: Gate, media: Path) -> None:
    set_up(dubbing, media, frames=MANY, seed=722)
    with gate.closed():
        dubbing.op(name="dub")
        for _ in range(3):
            dubbing.undo()
        assert "speech" not in [strip["name"] for strip in dubbing.strips()]

    assert dubbing.finish()[-1]["state"] == "done"
    for _ in range(3):
        dubbing.redo()
    dubbing.finish()

    names = {strip["name"] for strip in dubbing.strips()}
    assert {"face", "pose", "speech"} < names and len(results(dubbing)[0]["elements"]) == MANY


def test_a_sequencer_removed_during_a_dub_stops_no_other_dub(dubbing: Blender, gate: Gate, media: Path) -> None:
    set_up(dubbing, media, frames=MANY, seed=723)
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        first = dubbing.second_scene(name="second")
        set_up(dubbing, media, seed=724)
        dubbing.op(name="dub")
        dubbing.show_scene(name=first)
        dubbing.remove_sequencer()

    assert [job["state"] for job in dubbing.finish()] == ["done", "done"]

    dubbing.show_scene(name="second")
    assert len(results(dubbing)[0]["elements"]) == FRAMES
    dubbing.show_scene(name=first)
    assert not dubbing.has_sequencer()
    dubbing.make_sequencer()
    dubbing.finish()
    assert len(results(dubbing)[0]["elements"]) == MANY


def test_a_dub_of_a_deleted_scene_goes_on_and_comes_back_with_it(dubbing: Blender, gate: Gate, media: Path) -> None:
    first = dubbing.second_scene(name="second")
    set_up(dubbing, media, frames=MANY, seed=725)
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        dubbing.show_scene(name=first)
        dubbing.remove_scene(name="second")

    job = dubbing.finish()[-1]

    assert (job["state"], job["saved_end"]) == ("done", MANY)
    assert "Its scene is gone. The frames lie in" in " ".join(dubbing.panel(name="POSEDUB_PT_jobs"))
    dubbing.undo()
    dubbing.finish()
    dubbing.show_scene(name="second")
    assert len(results(dubbing)[0]["elements"]) == MANY


def test_a_dub_whose_scene_was_deleted_is_listed_after_a_crash(
    dubbing: Blender, gate: Gate, media: Path, tmp_path: Path
) -> None:
    first = dubbing.second_scene(name="second")
    set_up(dubbing, media, frames=MANY, seed=726)
    dubbing.save(path=str(tmp_path / "edit.blend"))
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        dubbing.show_scene(name=first)
        dubbing.remove_scene(name="second")
        dubbing.save(path=str(tmp_path / "edit.blend"))

        dubbing.load(path=str(tmp_path / "edit.blend"))

        (job,) = dubbing.jobs()
        assert (job["state"], job["active"]) == ("running", False)
    assert dubbing.op(name="fetch", wait=True) == {"result": ["FINISHED"]}
    assert dubbing.jobs()[-1]["saved_end"] == MANY


def test_a_renamed_scene_gets_its_dub(dubbing: Blender, gate: Gate, media: Path, tmp_path: Path) -> None:
    set_up(dubbing, media, frames=MANY, seed=727)
    dubbing.save(path=str(tmp_path / "edit.blend"))
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        dubbing.rename_scene(name="Interview")
        dubbing.save(path=str(tmp_path / "edit.blend"))
        dubbing.load(path=str(tmp_path / "edit.blend"))

    assert dubbing.op(name="fetch", wait=True) == {"result": ["FINISHED"]}

    assert len(results(dubbing)[0]["elements"]) == MANY


def test_a_strip_deleted_during_its_dub_stays_deleted(dubbing: Blender, gate: Gate, media: Path) -> None:
    set_up(dubbing, media, frames=MANY, seed=728)
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        dubbing.delete(name=results(dubbing)[0]["name"])

    assert dubbing.finish()[-1]["state"] == "done"

    assert results(dubbing) == []
    assert dubbing.op(name="fetch", wait=True) == {"result": ["FINISHED"]}
    assert len(results(dubbing)[0]["elements"]) == MANY


def test_a_fault_in_one_jobs_strip_is_told_once_and_stops_no_other(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=729)
    dubbing.op(name="dub")
    dubbing.settings(seed=730)
    dubbing.op(name="dub")

    told = dubbing.pump_with_a_fault(module="strips.results", name="grow")

    good, bad = dubbing.jobs()[-2:]
    assert (good["state"], bad["state"]) == ("done", "failed")
    assert "could not be made: RuntimeError('out of order')" in bad["error"]
    assert len(results(dubbing)[0]["elements"]) == FRAMES
    assert len(told) <= 3
    assert dubbing.op(name="retry", wait=True) == {"result": ["FINISHED"]}
    assert dubbing.jobs()[-1]["state"] == "done"


def test_a_fault_beside_the_jobs_is_logged_once_and_stops_no_dub(dubbing: Blender, media: Path) -> None:
    strip = set_up(dubbing, media, frames=MANY, seed=731)
    dubbing.op(name="dub")
    dubbing.op(name="server_check", wait=True)
    dubbing.panel(name="POSEDUB_PT_dub")

    told = dubbing.pump_with_a_fault(module="planning.scene_signature", name="signature", times=20)

    assert told.count("previews") <= 1
    assert dubbing.finish()[-1]["state"] == "done"
    assert results(dubbing)[0]["left"] == strip["left"]


def test_a_script_does_not_wait_for_what_never_comes(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=733)
    assert "The dubs do not get on: RuntimeError('out of order')." in dubbing.dub_with_a_fault()
    assert dubbing.finish()[-1]["state"] == "done"


def test_dubs_of_a_new_file_are_not_mixed_with_those_of_the_old_one(dubbing: Blender, gate: Gate, media: Path) -> None:
    set_up(dubbing, media, frames=MANY, seed=732)
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)

        dubbing.new_scene()
    set_up(dubbing, media)
    dub(dubbing)

    assert [job["plan"]["seed"] for job in dubbing.jobs()] == [0]
    assert len(results(dubbing)) == 1
