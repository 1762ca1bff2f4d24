"""Poses from footage into keyframes and back into dubs, with a real model server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_server.engines.pose_map import PoseMap
from tests.conftest import drawn_head, write_movie
from tests.servers import ServerProcess

from .conftest import Blender
from .test_dub import FRAMES, dub, results, set_up


@pytest.fixture(scope="session")
def turning(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The media, with a head that turns in the movie."""
    folder = tmp_path_factory.mktemp("turning")
    for name in ("portrait.png", "speech.wav"):
        shutil.copy(media / name, folder)
    write_movie(folder / "25fps.mp4", [drawn_head(np.sin(k / 5)) for k in range(50)], Fraction(25))
    return folder


@pytest.fixture(scope="module")
def posed_server(tmp_path_factory: pytest.TempPathFactory, posed_weights: Path) -> Iterator[ServerProcess]:
    """A server whose weights tell head angles."""
    with ServerProcess(tmp_path_factory.mktemp("posed") / "data", ["--weights", str(posed_weights)]) as running:
        yield running


@pytest.fixture
def posing(blender: Blender, posed_server: ServerProcess) -> Blender:
    """Blender that uses the server with the pose map."""
    blender.preferences(mode="address", address=posed_server.address)
    return blender


def pictures(strip: dict[str, Any]) -> list[bytes]:
    """The PNG files of a strip."""
    return [(Path(strip["directory"]) / name).read_bytes() for name in strip["elements"]]


def sources_with(blender: Blender, *names: str) -> None:
    """Select the sources of a dub, and these strips too."""
    blender.select(names=["speech", "face", "pose", *names])


@pytest.mark.parametrize("fps", [{"fps": 24}, {"fps": 30, "fps_base": 1.001}], ids=["24", "29.97"])
def test_baked_keyframes_give_the_same_frames_as_the_movie(dubbing: Blender, turning: Path, fps: dict) -> None:
    dubbing.new_scene(**fps)
    set_up(dubbing, turning)
    first = dub(dubbing)
    dubbing.select(names=[first["name"]])
    assert dubbing.op(name="bake_pose", wait=True) == {"result": ["FINISHED"]}
    assert [len(keys) for keys in dubbing.pose_keys(name=first["name"]).values()] == [FRAMES] * 12
    sources_with(dubbing, first["name"])

    second = dub(dubbing)

    plan = dubbing.jobs()[-1]["plan"]
    assert plan["pose"]["kind"] == "codes"
    assert len({tuple(row) for row in plan["pose"]["codes"]}) > 1
    assert pictures(second) == pictures(first)


def test_changed_keys_change_their_frames_only(dubbing: Blender, turning: Path) -> None:
    set_up(dubbing, turning)
    first = dub(dubbing)
    dubbing.select(names=[first["name"]])
    dubbing.op(name="bake_pose", tolerance=0.001, wait=True)
    sources_with(dubbing, first["name"])
    baked = dub(dubbing)
    dubbing.select(names=[baked["name"]])
    dubbing.op(name="pose_frontalise", first=108, last=109)
    sources_with(dubbing, baked["name"])

    edited = dub(dubbing)

    same = [one == other for one, other in zip(pictures(edited), pictures(baked), strict=True)]
    assert same == [True, True, False, False, True, True]


def test_a_take_carries_the_keyframes_it_was_made_with(dubbing: Blender, turning: Path) -> None:
    set_up(dubbing, turning)
    first = dub(dubbing)
    dubbing.select(names=[first["name"]])
    dubbing.op(name="bake_pose", wait=True)
    dubbing.key(name=first["name"], prop="posedub_pose", frame=108, value=0.5, index=3)
    sources_with(dubbing)
    dubbing.set_strip(name=first["name"], lock=True)
    second = dub(dubbing)

    assert dubbing.pose_keys(name=second["name"]) == dubbing.pose_keys(name=first["name"])
    dubbing.select(names=[second["name"]])
    dubbing.op(name="pose_frontalise")
    sources_with(dubbing)
    third = dubbing.plan()["pose"]["codes"]
    assert third == [[0.0] * 12] * FRAMES
    sources_with(dubbing, first["name"])
    assert dubbing.plan()["pose"]["codes"] != third


def test_baking_is_one_undo_step_that_waits_for_nobody(dubbing: Blender, turning: Path) -> None:
    set_up(dubbing, turning)
    strip = dub(dubbing)
    dubbing.select(names=[strip["name"]])
    dubbing.undo_push(message="the editor's last step")

    assert dubbing.op(name="bake_pose", tolerance=0.01) == {"result": ["FINISHED"]}
    assert dubbing.pose_keys(name=strip["name"]) == {}
    assert "A pose is being baked" in dubbing.op(name="key_handles")["error"]
    assert "[posedub.bake_cancel]" in dubbing.panel(name="POSEDUB_PT_pose")
    moved = dubbing.set_strip(name=strip["name"], frame_start=201)
    dubbing.finish()

    keys = dubbing.pose_keys(name=strip["name"])
    assert [(curve[0][0], curve[-1][0]) for curve in keys.values()] == [(moved["left"], moved["right"] - 1)] * 12
    dubbing.undo()
    assert dubbing.pose_keys(name=strip["name"]) == {}
    assert dubbing.strips()[-1]["left"] == moved["left"]


def test_a_cancelled_bake_leaves_no_keys(dubbing: Blender, turning: Path) -> None:
    set_up(dubbing, turning)
    strip = dub(dubbing)
    dubbing.select(names=[strip["name"]])
    dubbing.op(name="bake_pose")

    assert dubbing.op(name="bake_cancel") == {"result": ["FINISHED"]}

    dubbing.finish()
    assert dubbing.pose_keys(name=strip["name"]) == {}


def test_a_pose_whose_file_is_gone_cannot_be_baked(dubbing: Blender, turning: Path, tmp_path: Path) -> None:
    set_up(dubbing, turning)
    (tmp_path / "moving.mp4").write_bytes((turning / "25fps.mp4").read_bytes())
    dubbing.set_strip(name="pose", filepath=str(tmp_path / "moving.mp4"))
    strip = dub(dubbing)
    (tmp_path / "moving.mp4").unlink()
    dubbing.select(names=[strip["name"]])

    assert "moving.mp4 cannot be read" in dubbing.op(name="bake_pose", wait=True)["error"]
    assert "No such file" in " ".join(dubbing.panel(name="POSEDUB_PT_pose"))


def test_the_pose_strip_can_be_baked_too_and_blended(dubbing: Blender, turning: Path) -> None:
    set_up(dubbing, turning)
    dubbing.settings(pose_kind="frontal")
    strip = dub(dubbing)
    dubbing.select(names=[strip["name"], "pose"])
    dubbing.op(name="bake_pose", wait=True)
    assert dubbing.pose_rows(name=strip["name"], first=106, end=112) == [[0.0] * 12] * FRAMES

    dubbing.op(name="bake_pose", source="strip", target="posedub_pose_2", wait=True)

    second = dubbing.pose_rows(name=strip["name"], first=106, end=112, prop="posedub_pose_2")
    assert len({tuple(row) for row in second}) > 1
    dubbing.set_strip(name=strip["name"], posedub_blend=1.0)
    sources_with(dubbing, strip["name"])
    assert dubbing.plan()["pose"]["codes"] == second


def test_the_portraits_own_pose_is_baked_as_a_still(dubbing: Blender, turning: Path) -> None:
    set_up(dubbing, turning, frames=3)
    dubbing.settings(pose_kind="fixed")
    first = dub(dubbing)
    dubbing.select(names=[first["name"]])
    dubbing.op(name="bake_pose", wait=True)
    sources_with(dubbing, first["name"])

    assert pictures(dub(dubbing)) == pictures(first)


def test_keyframes_are_missed_with_a_sentence(dubbing: Blender, turning: Path) -> None:
    set_up(dubbing, turning)
    dubbing.settings(pose_kind="keyframes")

    assert 'No pose keyframes: bake the pose of a dub of "speech"' in dubbing.op(name="dub")["error"]


def test_handles_turn_the_head_as_the_map_says(posing: Blender, turning: Path, pose_map: PoseMap) -> None:
    set_up(posing, turning)
    still = dub(posing)["name"]
    posing.select(names=[still])
    posing.op(name="pose_hold", first=1, last=1)
    for frame, degrees in ((106, -25.0), (111, 25.0)):
        posing.key(name=still, prop="posedub_yaw", frame=frame, value=degrees)
    posing.settings(pose_kind="keyframes")
    sources_with(posing, still)
    posing.set_strip(name=still, lock=True)
    handled = dub(posing)
    angles = np.array(posing.jobs()[-1]["plan"]["pose"]["angles"])
    assert angles[0, 0] == -25 and angles[-1, 0] == 25 and (np.diff(angles[:, 0]) > 0).all()

    codes = pose_map.codes(angles).tolist()
    posing.op(name="clear_pose", what="all")
    posing.select(names=[still])
    posing.op(name="clear_pose", what="all")
    posing.bake_rows(name=still, start=106, rows=codes)
    sources_with(posing, still)
    coded = dub(posing)

    assert pictures(handled) == pictures(coded)
    assert len(set(pictures(handled))) == FRAMES


def test_the_mirror_uses_the_servers_map(posing: Blender, turning: Path, pose_map: PoseMap) -> None:
    set_up(posing, turning)
    strip = dub(posing)["name"]
    posing.select(names=[strip])
    posing.op(name="bake_pose", wait=True)
    before = np.array(posing.pose_rows(name=strip, first=106, end=112))
    posing.key(name=strip, prop="posedub_yaw", frame=108, value=7.0)
    posing.op(name="server_check", wait=True)

    assert posing.op(name="pose_mirror") == {"result": ["FINISHED"]}

    after = np.array(posing.pose_rows(name=strip, first=106, end=112))
    assert np.allclose(pose_map.angles(after), pose_map.angles(before) * [-1, 1, -1], atol=1e-4)
    assert posing.pose_rows(name=strip, first=106, end=112, prop="posedub_yaw") == [[-7.0]] * FRAMES
    assert len(posing.animated_paths()) == 2
    assert "Error of the angles: 1.5 / 1.5 / 1.5 degrees" in " ".join(posing.panel(name="POSEDUB_PT_pose"))


def test_handles_without_a_map_are_refused_with_a_sentence(
    blender: Blender, turning: Path, tmp_path: Path, untrained_weights: Path
) -> None:
    set_up(blender, turning, frames=2)
    with ServerProcess(tmp_path / "data", ["--weights", str(untrained_weights)]) as server:
        blender.preferences(mode="address", address=server.address)
        strip = dub(blender)["name"]
        blender.key(name=strip, prop="posedub_yaw", frame=106, value=5.0)
        blender.settings(pose_kind="keyframes")

        error = blender.op(name="dub", wait=True)["error"]

    assert "The weights untrained lite do not tell head angles. Clear the yaw, pitch and roll keys." in error
    assert len(results(blender)) == 1
