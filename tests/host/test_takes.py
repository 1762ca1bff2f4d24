"""Frames counted before they are made, a range made anew, and takes to choose from; with a real model server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.servers import ServerProcess

from .conftest import RATE, Blender
from .test_dub import FRAMES, dub, results, set_up

ALL = f"{FRAMES} of {FRAMES} frames to generate"


def pictures(strip: dict[str, Any], blend: Path | None = None) -> list[bytes]:
    """The PNG files of a strip."""
    folder = Path(strip["directory"].replace("//", f"{blend}/", 1)) if blend else Path(strip["directory"])
    return [(folder / name).read_bytes() for name in strip["elements"]]


def keyed_take(blender: Blender, media: Path, seed: int) -> dict[str, Any]:
    """A dub with a key of its pose for each frame, selected."""
    set_up(blender, media, seed=seed)
    blender.settings(pose_kind="fixed")
    name = dub(blender)["name"]
    blender.select(names=[name, "face", "speech"])
    blender.bake_rows(name=name, start=106, rows=[[0.01 * k] * 12 for k in range(FRAMES)])
    blender.settings(pose_kind="keyframes")
    strip = dub(blender)
    blender.select(names=[strip["name"], "face", "speech"])
    return strip


def test_the_panel_counts_what_a_dub_would_generate(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=40)
    dubbing.settings(pose_kind="frontal")
    assert dubbing.estimate()[0].startswith(ALL)
    dub(dubbing)
    assert dubbing.estimate() == [f"No frame to generate: all {FRAMES} are there", ""]
    dubbing.settings(seed=41)
    text, unread = dubbing.estimate()
    assert text.startswith(f"{ALL}, about 0:") and unread == ""
    dubbing.settings(seed=40)
    assert dubbing.estimate() == [f"No frame to generate: all {FRAMES} are there", ""]


def test_the_count_is_unknown_without_a_server(blender: Blender, media: Path, server: ServerProcess) -> None:
    set_up(blender, media)
    blender.preferences(mode="address", address="127.0.0.1:1")
    assert blender.estimate() == ["? frames to generate: no server is connected", ""]
    assert "? frames to generate: no server is connected" in blender.panel(name="POSEDUB_PT_dub")


def test_changed_keys_are_counted_generated_and_told(dubbing: Blender, media: Path) -> None:
    take = keyed_take(dubbing, media, seed=42)
    dubbing.op(name="pose_frontalise", first=108, last=109)
    assert dubbing.estimate()[0].startswith(f"2 of {FRAMES} frames to generate")

    edited = dub(dubbing)

    same = [one == other for one, other in zip(pictures(edited), pictures(take), strict=True)]
    assert same == [True, True, False, False, True, True]
    job = dubbing.jobs()[-1]
    assert job["generated"] == 2
    assert f"2 generated in {job['seconds']:.1f} s" in dubbing.panel(name="POSEDUB_PT_jobs")


def test_edited_keys_of_a_long_dub_generate_their_frames_only(dubbing: Blender, media: Path, tmp_path: Path) -> None:
    frames, fps = 250, 25
    dubbing.new_scene(fps=fps)
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(3).uniform(-0.5, 0.5, 10 * RATE), RATE, "PCM_16")
    dubbing.add(kind="image", file=str(media / "portrait.png"), name="face", channel=1, start=1)
    dubbing.add(kind="sound", file=str(tmp_path / "long.wav"), name="speech", channel=3, start=1)
    dubbing.settings(portrait_crop="aligned", pose_kind="frontal", seed=60)
    dubbing.select(names=["face", "speech"])
    name = dub(dubbing)["name"]
    for k in (0, 36, 40, 44, 48, 52, 56, 249):
        dubbing.key(name=name, prop="posedub_pose", frame=1 + k, value=0.0, index=2)
    dubbing.settings(pose_kind="keyframes")
    dubbing.select(names=[name, "face", "speech"])
    assert dubbing.estimate() == [f"No frame to generate: all {frames} are there", ""]
    before = dub(dubbing)
    assert dubbing.jobs()[-1]["generated"] == 0

    rows = dubbing.pose_rows(name=before["name"], first=1, end=1 + frames)
    dubbing.select(names=[before["name"], "face", "speech"])
    for k in (40, 44, 48, 52):
        dubbing.key(name=before["name"], prop="posedub_pose", frame=1 + k, value=0.4, index=2)
    edited = dubbing.pose_rows(name=before["name"], first=1, end=1 + frames)
    changed = [k for k in range(frames) if rows[k] != edited[k]]
    assert set(range(40, 53)) <= set(changed) <= set(range(30, 63))
    assert dubbing.estimate()[0].startswith(f"{len(changed)} of {frames} frames to generate, about 0:")
    after = dub(dubbing)

    pairs = zip(pictures(after), pictures(before), strict=True)
    assert [k for k, (one, other) in enumerate(pairs) if one != other] == changed
    job = dubbing.jobs()[-1]
    assert job["generated"] == len(changed)
    told = f"{len(changed)} generated in {job['seconds']:.1f} s"
    assert told in dubbing.panel(name="POSEDUB_PT_jobs")


def test_a_range_is_made_anew_and_the_rest_taken_over(dubbing: Blender, media: Path) -> None:
    take = keyed_take(dubbing, media, seed=43)
    dubbing.set_strip(name=take["name"], color_multiply=0.5)
    dubbing.settings(seed=99)
    dubbing.preview_range(first=108, last=109)
    assert "[posedub.redub_range]" in dubbing.panel(name="POSEDUB_PT_takes")
    before, keys = {strip["uid"] for strip in results(dubbing)}, dubbing.pose_keys(name=take["name"])

    assert dubbing.op(name="redub_range", wait=True) == {"result": ["FINISHED"]}

    (made,) = (strip for strip in results(dubbing) if strip["uid"] not in before)
    same = [one == other for one, other in zip(pictures(made), pictures(take), strict=True)]
    assert same == [True, True, False, False, True, True]
    assert (made["left"], made["right"]) == (take["left"], take["right"])
    assert made["channel"] == take["channel"] and made["version"] > take["version"]
    assert len(results(dubbing)) == len(before)
    assert dubbing.described(name=made["name"], props=["color_multiply"]) == [0.5]
    assert dubbing.pose_keys(name=made["name"]) == keys and keys
    assert dubbing.jobs()[-1]["generated"] == 2
    dubbing.undo()
    assert {strip["uid"] for strip in results(dubbing)} == before


def test_a_range_of_a_moved_strip_alone_is_made_where_it_lies(dubbing: Blender, media: Path) -> None:
    take = keyed_take(dubbing, media, seed=44)
    moved = dubbing.set_strip(name=take["name"], frame_start=301)
    dubbing.preview_range(first=302, last=302)
    dubbing.select(names=[take["name"]])
    dubbing.settings(mouth_strength=0.0)

    assert dubbing.op(name="redub_range", wait=True) == {"result": ["FINISHED"]}

    made = results(dubbing)[-1]
    assert (made["left"], made["right"]) == (moved["left"], moved["right"])
    plan = dubbing.jobs()[-1]["plan"]
    assert (plan["first"], plan["end"], plan["portrait"]["file"]) == (1, 2, str(media / "portrait.png"))


def test_a_range_outside_the_strip_is_refused(dubbing: Blender, media: Path) -> None:
    keyed_take(dubbing, media, seed=43)
    dubbing.preview_range(first=1, last=2)
    assert "does not touch" in dubbing.op(name="redub_range")["error"]


def test_a_frame_is_previewed_without_a_job_and_the_dub_has_it(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=45)
    dubbing.settings(pose_kind="frontal")
    dubbing.playhead(frame=108)
    before = (dubbing.jobs(), dubbing.strips())

    assert dubbing.op(name="preview", wait=True) == {"result": ["FINISHED"]}

    assert (dubbing.jobs(), dubbing.strips()) == before
    shown = dubbing.preview()
    assert shown["size"] == [224, 224]
    assert dubbing.estimate()[0].startswith(f"{FRAMES - 1} of {FRAMES} frames")
    picture = Path(shown["file"]).read_bytes()
    assert pictures(dub(dubbing))[2] == picture
    dubbing.playhead(frame=90)
    assert "The playhead is not over the sound strip" in dubbing.op(name="preview")["error"]


@pytest.fixture
def two_takes(dubbing: Blender, media: Path, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two dubs of a saved file that differ in their seed; the second one is selected."""
    set_up(dubbing, media, seed=46)
    dubbing.settings(pose_kind="frontal")
    dubbing.save(path=str(tmp_path / "edit.blend"))
    first = dub(dubbing)
    dubbing.settings(seed=47, mouth_strength=0.5)
    second = dub(dubbing)
    dubbing.select(names=[second["name"], "face", "speech"])
    return first, second


@pytest.fixture
def two_strips(dubbing: Blender, media: Path, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same in two strips, locked, so that each keeps its take; nothing but the sources is selected."""
    set_up(dubbing, media, seed=46)
    dubbing.settings(pose_kind="frontal")
    dubbing.save(path=str(tmp_path / "edit.blend"))
    first = dub(dubbing)
    dubbing.set_strip(name=first["name"], lock=True)
    dubbing.settings(seed=47)
    second = dub(dubbing)
    dubbing.set_strip(name=second["name"], lock=True)
    dubbing.select(names=["face", "speech"])
    return first, second


def test_takes_are_listed_with_what_made_them(dubbing: Blender, two_takes: tuple, tmp_path: Path) -> None:
    takes = dubbing.takes()
    assert [take["name"] for take in takes] == ["v002", "v001"]
    assert [Path(take["folder"]) for take in takes] == [tmp_path / "dubs/speech" / name for name in ("v002", "v001")]
    assert takes[0]["text"].startswith(f"{FRAMES} frames, {FRAMES} generated in ")
    assert "frontal, mouth 0.5, 224 px, seed 47, " in takes[0]["settings"]


def test_a_strip_switches_to_another_take_in_one_step(dubbing: Blender, two_takes: tuple, tmp_path: Path) -> None:
    first, second = two_takes
    dubbing.undo_push(message="the editor's last step")

    assert dubbing.op_with_undo(name="take_switch", folder=dubbing.takes()[1]["folder"]) == ["FINISHED"]

    (shown,) = (strip for strip in results(dubbing) if strip["channel"] == second["channel"])
    assert pictures(shown, tmp_path) == pictures(first, tmp_path)
    assert (shown["version"], shown["left"], shown["right"]) == ("v001", second["left"], second["right"])
    assert shown["directory"].startswith("//dubs/speech/v001")
    dubbing.undo()
    assert second | {"select": True} in dubbing.strips()


def test_a_take_lies_half_over_another_one(dubbing: Blender, two_takes: tuple) -> None:
    _first, second = two_takes
    before = dubbing.strips()
    folder = dubbing.takes()[1]["folder"]

    assert dubbing.op(name="take_compare", folder=folder) == {"result": ["FINISHED"]}

    (made,) = (strip for strip in dubbing.strips() if strip not in before)
    assert (made["name"], made["left"], made["right"]) == ("Compare v001", second["left"], second["right"])
    assert made["channel"] > second["channel"] and dubbing.crop(name=made["name"]) == 112
    assert dubbing.op(name="take_delete", folder=folder)["error"].count("v001 is shown by a strip")
    dubbing.op(name="take_compare")
    assert dubbing.strips() == before


def test_a_comparison_is_one_undo_step(dubbing: Blender, two_takes: tuple) -> None:
    dubbing.undo_push(message="the editor's last step")
    before = dubbing.strips()

    assert dubbing.op_with_undo(name="take_compare", folder=dubbing.takes()[1]["folder"]) == ["FINISHED"]

    compared = dubbing.strips()
    assert len(compared) == len(before) + 1
    dubbing.undo()
    assert dubbing.strips() == before
    dubbing.redo()
    assert dubbing.strips() == compared
    assert dubbing.op_with_undo(name="take_compare") == ["FINISHED"]
    dubbing.undo()
    assert dubbing.strips() == compared


def test_the_settings_of_a_take_come_back(dubbing: Blender, two_takes: tuple) -> None:
    dubbing.settings(pose_kind="fixed", size="320")
    dubbing.undo_push(message="the editor's last step")
    assert dubbing.op_with_undo(name="take_restore", folder=dubbing.takes()[1]["folder"]) == ["FINISHED"]
    names = ("seed", "pose_kind", "size")
    assert [dubbing.setting(name=name) for name in names] == [46, "frontal", "224"]
    assert dubbing.setting(name="mouth_strength") == pytest.approx(1.2)
    assert dubbing.estimate() == [f"No frame to generate: all {FRAMES} are there", ""]
    dubbing.undo()
    assert [dubbing.setting(name=name) for name in names] == [47, "fixed", "320"]


def test_the_keys_of_a_take_come_back(dubbing: Blender, media: Path) -> None:
    take = keyed_take(dubbing, media, seed=48)
    rows = dubbing.pose_rows(name=take["name"], first=106, end=112)
    dubbing.op(name="pose_frontalise")
    assert dubbing.pose_rows(name=take["name"], first=106, end=112) != rows
    folder = next(row["folder"] for row in dubbing.takes() if row["name"] == take["version"])
    assert dubbing.op(name="take_restore", folder=folder) == {"result": ["FINISHED"]}
    assert dubbing.pose_rows(name=take["name"], first=106, end=112) == rows


def test_a_take_is_deleted_but_never_one_in_use(dubbing: Blender, two_takes: tuple, tmp_path: Path) -> None:
    shown, folder = (tmp_path / "dubs/speech" / name for name in ("v002", "v001"))
    assert "v002 is shown by a strip" in dubbing.op(name="take_delete", folder=str(shown))["error"]

    assert dubbing.op(name="take_delete", folder=str(folder)) == {"result": ["FINISHED"]}

    assert not folder.exists()
    assert [take["name"] for take in dubbing.takes()] == ["v002"]
    assert "No take is chosen" not in dubbing.panel(name="POSEDUB_PT_takes")


def test_undo_after_a_deletion_is_of_the_step_before_it(dubbing: Blender, two_takes: tuple, tmp_path: Path) -> None:
    dubbing.undo_push(message="the editor's last step")
    moved = dubbing.set_strip(name="face", frame_start=55)
    assert dubbing.op_with_undo(name="take_delete", folder=str(tmp_path / "dubs/speech/v001")) == ["FINISHED"]

    dubbing.undo()

    assert moved not in dubbing.strips()
    assert [take["name"] for take in dubbing.takes()] == ["v002"]
    dubbing.redo()
    assert moved in dubbing.strips()


def test_the_limit_removes_the_oldest_take_that_no_strip_shows(
    dubbing: Blender, two_strips: tuple, tmp_path: Path
) -> None:
    first, second = two_strips
    other = tmp_path / "dubs/speech/v001"
    dubbing.preferences(cache_limit=1)
    dubbing.settings(seed=49)
    try:
        dub(dubbing)
        dubbing.finish()
        assert other.exists()
        dubbing.delete(name=first["name"])
        dubbing.settings(seed=50)
        dub(dubbing)
        dubbing.finish()
    finally:
        dubbing.preferences(cache_limit=0)
    sizes = sum(path.stat().st_size for path in tmp_path.glob("dubs/speech/v*/*"))
    assert not other.exists() and sizes > 10**6
    assert (tmp_path / "dubs/speech" / second["version"]).exists()


def test_a_take_of_another_file_is_left_alone(dubbing: Blender, two_strips: tuple, tmp_path: Path) -> None:
    first, _second = two_strips
    dubbing.save(path=str(tmp_path / "copy.blend"))
    dubbing.delete(name=first["name"])
    dubbing.preferences(cache_limit=1)
    try:
        for seed in range(51, 55):
            dubbing.settings(seed=seed)
            dub(dubbing)
            dubbing.finish()
    finally:
        dubbing.preferences(cache_limit=0)
    assert (tmp_path / "dubs/speech/v001").exists()
