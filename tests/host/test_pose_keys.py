"""Pose keyframes stay with their strip, and what is read from them is what lies there."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Blender

START, FRAMES = 11, 30
STRIP = "Dub speech v001"


def wandering(frames: int = FRAMES, seed: int = 0) -> list[list[float]]:
    """A head that wanders, in 32-bit numbers as the server sends them."""
    steps = np.random.default_rng(seed).normal(0, 0.05, (frames, 12))
    return steps.cumsum(0).astype(np.float32).tolist()


TRACK = wandering()


@pytest.fixture
def posed(blender: Blender, media: Path) -> Blender:
    """Blender with a dub strip of 30 frames that has a key for each frame, selected."""
    blender.add_dub(file=str(media / "portrait.png"), name=STRIP, channel=3, start=START, frames=FRAMES)
    blender.bake_rows(name=STRIP, start=START, rows=TRACK)
    blender.select(names=[STRIP])
    return blender


def read(blender: Blender, name: str = STRIP, first: int = START, end: int = START + FRAMES) -> list[list[float]]:
    return blender.pose_rows(name=name, first=first, end=end)


def test_baked_codes_are_read_to_the_last_bit(posed: Blender) -> None:
    assert read(posed) == TRACK
    assert read(posed, first=1, end=START) == [TRACK[0]] * 10
    assert posed.pose_source(name=STRIP, first=START, end=START + FRAMES) == {"codes": TRACK, "angles": []}


def test_keys_between_frames_are_read_where_they_lie(posed: Blender) -> None:
    posed.op(name="clear_pose", what="all")
    posed.bake_rows(name=STRIP, start=START + 0.25, rows=[[0.0] * 12, [1.0] * 12])

    assert [row[0] for row in read(posed, end=START + 3)] == pytest.approx([0.0, 0.75, 1.0])


@pytest.mark.parametrize("shift", [0.0, 0.5, 0.25, 0.00005, 0.003], ids="shift{}".format)
@pytest.mark.parametrize("extrapolation", ["CONSTANT", "LINEAR"])
def test_curves_are_read_to_the_last_bit_of_blenders_values(posed: Blender, extrapolation: str, shift: float) -> None:
    chance = random.Random(f"{extrapolation} {shift}")
    kinds = [*posed.interpolations(), *["LINEAR", "CONSTANT", "BEZIER"] * 8]
    frames = sorted(chance.sample(range(1, 400), len(kinds)))
    chance.shuffle(kinds)
    handles = ["AUTO", "FREE", "VECTOR", "AUTO_CLAMPED"]
    keys = [
        [frame + shift, chance.gauss(0, 9), kind, chance.choice(handles)]
        for frame, kind in zip(frames, kinds, strict=True)
    ]

    for part, modifier in ((keys, ""), (keys[:1], ""), (keys[:9], "NOISE")):
        found, expected = posed.shaped_curve(name=STRIP, keys=part, extrapolation=extrapolation, modifier=modifier)
        assert found == expected and (len(part) == 1 or len(set(expected)) > 9)


def test_keys_on_the_same_frame_are_read_as_blender_does(posed: Blender) -> None:
    keys = [[frame, value, "LINEAR", "AUTO"] for frame, value in ((5, 1.0), (9.9995, 4.0), (10.0, 7.0), (20, -3.0))]

    found, expected = posed.shaped_curve(name=STRIP, keys=keys, extrapolation="CONSTANT")

    assert found == expected


def test_decimated_keys_are_few_and_within_the_tolerance(posed: Blender) -> None:
    posed.bake_rows(name=STRIP, start=START, rows=TRACK, tolerance=0.05)

    keys = posed.pose_keys(name=STRIP)
    assert len(keys) == 12
    assert sum(map(len, keys.values())) < 12 * FRAMES / 2
    assert np.abs(np.array(read(posed)) - TRACK).max() <= 0.05 + 1e-6


def test_curves_move_with_the_strip(posed: Blender) -> None:
    posed.set_strip(name=STRIP, frame_start=START + 100)

    assert read(posed, first=START + 100, end=START + 100 + FRAMES) == TRACK


def test_curves_follow_a_new_name(posed: Blender) -> None:
    name = posed.rename(name=STRIP, to='Take "two"')

    assert read(posed, name) == TRACK
    assert len(posed.animated_paths()) == 1


def test_both_parts_of_a_split_strip_keep_the_curves(posed: Blender) -> None:
    right = posed.split(name=STRIP, frame=START + 12)

    assert read(posed) == read(posed, right) == TRACK
    assert len(posed.animated_paths()) == 2


def test_a_dub_reads_each_part_of_a_split_strip_where_it_lies(posed: Blender) -> None:
    right = posed.split(name=STRIP, frame=START + 12)
    posed.set_strip(name=right, frame_start=START + 5)
    posed.set_strip(name=right, channel=3)

    codes = posed.pose_source(name=STRIP, first=START, end=START + FRAMES)["codes"]

    assert codes[:12] == TRACK[:12]
    assert codes[17:] == TRACK[12 : FRAMES - 5]
    # The gap of five frames takes the nearer part's curves.
    assert codes[12:14] == read(posed, STRIP, START + 12, START + 14)
    assert codes[15:17] == read(posed, right, START + 15, START + 17)


def test_a_copy_has_curves_of_its_own(posed: Blender) -> None:
    copy = posed.copy_strip(name=STRIP)
    posed.op(name="pose_hold")

    assert read(posed, copy) == [TRACK[0]] * FRAMES
    assert read(posed) == TRACK


def test_undo_and_redo_bring_curves_back(posed: Blender) -> None:
    posed.undo()
    assert posed.pose_keys(name=STRIP) == {}
    posed.redo()
    assert read(posed) == TRACK


def test_curves_survive_saving_and_reopening(posed: Blender, tmp_path: Path) -> None:
    posed.key(name=STRIP, prop="posedub_yaw", frame=START + 4, value=12.5)
    posed.save(path=str(tmp_path / "edit.blend"))
    posed.new_scene()

    posed.load(path=str(tmp_path / "edit.blend"))

    assert read(posed) == TRACK
    assert posed.pose_keys(name=STRIP, prop="posedub_yaw") == {"0": [[START + 4, 12.5]]}


def test_trimming_changes_no_frame(posed: Blender) -> None:
    posed.set_strip(name=STRIP, frame_offset_start=7)

    assert posed.pose_source(name=STRIP, first=START + 7, end=START + FRAMES)["codes"] == TRACK[7:]


def test_a_strip_elsewhere_is_read_from_its_left_handle(posed: Blender) -> None:
    codes = posed.pose_source(name=STRIP, first=500, end=510)["codes"]

    assert codes == TRACK[:10]


def test_curves_are_read_inside_a_meta_strip(posed: Blender) -> None:
    posed.wrap_in_meta(name=STRIP, channel=9)

    assert read(posed) == TRACK


def test_handles_are_read_in_degrees_keyed_or_not(posed: Blender) -> None:
    for frame, value in ((START, -20.0), (START + 10, 20.0)):
        posed.key(name=STRIP, prop="posedub_yaw", frame=frame, value=value)
    posed.set_strip(name=STRIP, posedub_pitch=5.0)

    source = posed.pose_source(name=STRIP, first=START, end=START + 11)

    assert source["codes"] == TRACK[:11]
    yaw = [row[0] for row in source["angles"]]
    assert (yaw[0], yaw[5], yaw[10]) == pytest.approx((-20, 0, 20), abs=1e-4)
    assert yaw == sorted(yaw)
    assert [row[1:] for row in source["angles"]] == [[5.0, 0.0]] * 11


def test_key_handles_keys_all_three_at_the_playhead(posed: Blender) -> None:
    posed.set_strip(name=STRIP, posedub_yaw=3.0)
    posed.playhead(frame=START + 2)

    assert posed.op(name="key_handles") == {"result": ["FINISHED"]}

    keys = [posed.pose_keys(name=STRIP, prop=f"posedub_{name}") for name in ("yaw", "pitch", "roll")]
    assert keys == [{"0": [[START + 2, 3.0]]}, {"0": [[START + 2, 0.0]]}, {"0": [[START + 2, 0.0]]}]
    posed.op(name="clear_pose", what="handles")
    assert posed.animated_paths() == [f'sequence_editor.strips_all["{STRIP}"].posedub_pose']
    assert posed.pose_source(name=STRIP, first=START, end=START + 3)["angles"] == []


def test_two_poses_blend_by_a_keyed_factor(posed: Blender) -> None:
    other = wandering(seed=4)
    posed.bake_rows(name=STRIP, start=START, rows=other, prop="posedub_pose_2")
    posed.key(name=STRIP, prop="posedub_blend", frame=START + 10, value=0.0)
    posed.key(name=STRIP, prop="posedub_blend", frame=START + 20, value=1.0)

    codes = posed.pose_source(name=STRIP, first=START, end=START + FRAMES)["codes"]

    assert codes[:11] == TRACK[:11]
    assert codes[20:] == other[20:]
    assert np.allclose(codes[15], np.add(TRACK[15], other[15]) / 2, atol=1e-6)


TOOLS: dict[str, dict[str, Any]] = {
    "pose_smooth": {"sigma": 2.0},
    "pose_scale": {"amount": 0.5},
    "pose_hold": {},
    "pose_frontalise": {"amount": 0.5},
    "pose_offset": {"frames": -2.5},
    "pose_loop": {"length": 3, "kind": "ping_pong"},
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("tolerance", [0.0, 0.05], ids=["every frame keyed", "decimated"])
def test_tools_change_the_preview_range_and_no_bit_beside_it(posed: Blender, tool: str, tolerance: float) -> None:
    posed.bake_rows(name=STRIP, start=START, rows=TRACK, tolerance=tolerance)
    before = read(posed)
    posed.preview_range(first=START + 8, last=START + 15)

    assert posed.op_with_undo(name=tool, **TOOLS[tool]) == ["FINISHED"]

    after = read(posed)
    assert after[:8] == before[:8] and after[16:] == before[16:]
    assert sum(a != b for a, b in zip(after[8:16], before[8:16], strict=True)) >= 5
    posed.undo()
    assert read(posed) == before


def test_tools_work_on_the_whole_strip_or_on_given_frames(posed: Blender) -> None:
    posed.op(name="pose_hold", first=START + 20, last=START + 24)
    assert read(posed)[20:25] == [TRACK[20]] * 5
    assert read(posed)[25:] == TRACK[25:]
    posed.op(name="pose_frontalise")
    assert read(posed) == [[0.0] * 12] * FRAMES
    assert "outside the strip" in posed.op(name="pose_hold", first=500, last=510)["error"]


def test_curved_keys_beside_the_range_keep_their_curve(posed: Blender) -> None:
    posed.op(name="clear_pose", what="all")
    rng = random.Random(1)
    for frame in (START, START + 9, START + 21, START + 29):
        for index in range(12):
            posed.key(name=STRIP, prop="posedub_pose", frame=frame, value=rng.uniform(-1, 1), index=index)
    before = np.array(read(posed))

    posed.op(name="pose_frontalise", first=START + 12, last=START + 15)

    after = np.array(read(posed))
    assert not after[12:16].any()
    outside = np.r_[0:12, 16:FRAMES]
    assert np.allclose(after[outside], before[outside], atol=1e-6)


def test_a_tool_may_ease_in_and_out(posed: Blender) -> None:
    posed.op(name="pose_frontalise", first=START, last=START + FRAMES - 1, ease=5)

    shares = [row[0] / source[0] for row, source in zip(read(posed), TRACK, strict=True)]
    assert 1 > shares[0] > shares[1] > shares[4] > 0
    assert not any(shares[5:25])
    assert 0 < shares[25] < shares[29] < 1


def test_ease_goes_back_to_what_was_baked(posed: Blender) -> None:
    posed.op(name="pose_frontalise")
    posed.set_strip(name=STRIP, frame_start=START + 50)

    posed.op(name="pose_ease", frames=4)

    eased = read(posed, first=START + 50, end=START + 50 + FRAMES)
    assert 0 < eased[0][0] / TRACK[0][0] < 1
    assert eased[4:26] == [[0.0] * 12] * 22
    posed.op(name="pose_ease", restore=True)
    assert read(posed, first=START + 50, end=START + 50 + FRAMES) == TRACK


def test_buttons_say_why_they_are_grey(blender: Blender, media: Path) -> None:
    for name in ("bake_pose", "key_handles", "clear_pose", "pose_smooth", "pose_ease"):
        assert "Select the strip of a dub." in blender.op(name=name)["error"]
    blender.add_dub(file=str(media / "portrait.png"), name=STRIP, channel=3, start=START, frames=FRAMES)
    blender.select(names=[STRIP])
    assert f'"{STRIP}" has no pose keyframes; bake its pose first.' in blender.op(name="pose_hold")["error"]
    assert f'No pose was baked into "{STRIP}"; bake it first.' in blender.op(name="pose_ease")["error"]
    blender.bake_rows(name=STRIP, start=START, rows=TRACK)
    blender.forget_server()
    assert "Connect to the server first" in blender.op(name="pose_mirror")["error"]
    blender.preview_range(first=1, last=5)
    assert "The preview range lies outside the strip; move or clear it." in blender.op(name="pose_hold")["error"]


def test_pose_panels_show_the_strip_its_handles_and_the_range(posed: Blender) -> None:
    shown = posed.panel(name="POSEDUB_PT_pose")
    assert shown[:2] == [STRIP, "[posedub.bake_pose]"]
    assert {"Yaw (°)", "Pitch (°)", "Roll (°)", "[posedub.key_handles]", "[posedub.clear_pose]"} <= set(shown)
    posed.preview_range(first=START + 3, last=START + 5)
    tools = posed.panel(name="POSEDUB_PT_pose_tools")
    assert tools[0] == f"Frames {START + 3} to {START + 5} (preview range)"
    assert {f"[posedub.{tool}]" for tool in TOOLS} <= set(tools)
    assert posed.panel(name="POSEDUB_PT_pose_codes") == ["Blend", "Pose Code", "Second Pose Code"]
    posed.select(names=[])
    assert posed.panel(name="POSEDUB_PT_pose") == [
        "No dub strip is selected", "[posedub.bake_pose]", "[posedub.pose_from_speech]"
    ]  # fmt: skip
