"""A new take of a dub takes the place of the one that a strip shows, with a real model server."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.gate import Gate

from .conftest import Blender
from .test_dub import MANY, dub, results, set_up

# Each test draws its second take anew: frames that are known already would not wait at the gate.
SEEDS = count(71)


@pytest.fixture
def shown(dubbing: Blender, media: Path) -> dict[str, Any]:
    """A dub of which a second take with another seed can be made."""
    set_up(dubbing, media, frames=MANY, seed=70)
    strip = dub(dubbing)
    dubbing.settings(seed=next(SEEDS))
    return strip


def test_a_new_take_is_shown_by_the_strip_there_is(dubbing: Blender, shown: dict[str, Any]) -> None:
    dubbing.place(name=shown["name"], transform={"offset_x": 7.0}, crop={})
    dubbing.key(name=shown["name"], prop="posedub_yaw", frame=107, value=5.0)
    dubbing.select(names=[shown["name"]])
    dubbing.undo_push(message="the editor's last step")
    before = dubbing.strips()

    second = dub(dubbing)

    assert len(dubbing.strips()) == len(before)
    marks = ("name", "uid", "job", "version", "directory")
    assert {key: second[key] for key in second if key not in marks} | {"select": True} == {
        key: shown[key] for key in shown if key not in marks
    } | {"select": True}
    assert all(second[key] != shown[key] for key in marks) and second["version"] > shown["version"]
    assert second["name"] == shown["name"].replace(shown["version"], second["version"])
    assert dubbing.pose_keys(name=second["name"], prop="posedub_yaw") == {"0": [[107.0, 5.0]]}
    dubbing.undo()
    assert dubbing.strips() == before
    dubbing.redo()
    assert second in dubbing.strips()


def test_switching_gives_the_older_take_back(dubbing: Blender, shown: dict[str, Any]) -> None:
    second = dub(dubbing)
    dubbing.select(names=[second["name"]])

    assert dubbing.op(name="take_switch", folder=shown["directory"]) == {"result": ["FINISHED"]}

    (strip,) = results(dubbing)
    assert {key: strip[key] for key in ("name", "uid", "version")} == {
        key: shown[key] for key in ("name", "uid", "version")
    }


def test_a_take_that_was_cancelled_replaces_nothing(
    dubbing: Blender, gate: Gate, media: Path, shown: dict[str, Any]
) -> None:
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        dubbing.op(name="cancel", wait=True)

    assert shown in dubbing.strips() and len(results(dubbing)) == 2
    assert dubbing.op(name="retry", wait=True) == {"result": ["FINISHED"]}
    (strip,) = results(dubbing)
    assert strip["channel"] == shown["channel"] and strip["version"] > shown["version"]


CHANGES = {
    "moved": {"frame_start": 150},
    "trimmed": {"frame_final_start": 108},
    "muted": {"mute": True},
    "locked": {"lock": True},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_strip_that_was_changed_keeps_its_take(dubbing: Blender, shown: dict[str, Any], change: str) -> None:
    kept = dubbing.set_strip(name=shown["name"], **CHANGES[change])

    second = dub(dubbing)

    assert kept in dubbing.strips() and second["uid"] != kept["uid"]


def test_another_portrait_or_picture_makes_another_dub(
    dubbing: Blender, media: Path, tmp_path: Path, shown: dict[str, Any]
) -> None:
    dubbing.settings(size="320")
    large = dub(dubbing)
    (tmp_path / "other.png").write_bytes((media / "portrait.png").read_bytes())
    dubbing.add(kind="image", file=str(tmp_path / "other.png"), name="other", channel=20, start=1)
    dubbing.select(names=["other", "speech", "pose"])
    dub(dubbing)

    assert shown in dubbing.strips() and large in dubbing.strips()
    assert len({strip["channel"] for strip in results(dubbing)}) == 3


def test_what_the_editor_does_to_the_growing_strip_is_kept(dubbing: Blender, gate: Gate, shown: dict[str, Any]) -> None:
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)
        (growing,) = (strip for strip in results(dubbing) if strip["uid"] != shown["uid"])
        dubbing.key(name=growing["name"], prop="posedub_yaw", frame=107, value=5.0)
    dubbing.finish()

    assert shown in dubbing.strips() and len(results(dubbing)) == 2
    assert dubbing.pose_keys(name=growing["name"], prop="posedub_yaw") == {"0": [[107.0, 5.0]]}


def test_dubs_that_wait_follow_the_strip_they_were_keyed_on(dubbing: Blender, shown: dict[str, Any]) -> None:
    dubbing.settings(pose_kind="keyframes")
    dubbing.select(names=[shown["name"]])
    for value in (5.0, 9.0):
        dubbing.key(name=shown["name"], prop="posedub_pose", frame=107, value=value / 100, index=0)
        dubbing.op(name="dub")

    assert [job["state"] for job in dubbing.finish()[-2:]] == ["done", "done"]

    (strip,) = results(dubbing)
    assert strip["version"] == dubbing.jobs()[-1]["plan"]["name"].split()[-1]
    assert dubbing.pose_keys(name=strip["name"])["0"] == [[107.0, pytest.approx(0.09)]]


def test_a_comparison_stays_with_its_strip(dubbing: Blender, shown: dict[str, Any]) -> None:
    dubbing.select(names=[shown["name"]])
    dubbing.op(name="take_compare", folder=shown["directory"])
    second = dub(dubbing)
    dubbing.select(names=[second["name"]])

    assert dubbing.op(name="take_compare", folder=shown["directory"]) == {"result": ["FINISHED"]}

    assert not [strip for strip in dubbing.strips() if strip["name"].startswith("Compare")]


def test_a_range_of_a_locked_strip_is_laid_over_it(dubbing: Blender, shown: dict[str, Any]) -> None:
    locked = dubbing.set_strip(name=shown["name"], lock=True)
    dubbing.select(names=[shown["name"]])
    dubbing.preview_range(first=109, last=109)

    assert dubbing.op(name="redub_range", wait=True) == {"result": ["FINISHED"]}

    assert locked | {"select": True} in dubbing.strips() and len(results(dubbing)) == 2


def test_a_range_of_a_trimmed_strip_is_shown_within_its_trim(dubbing: Blender, shown: dict[str, Any]) -> None:
    trimmed = dubbing.set_strip(name=shown["name"], frame_final_start=108)
    dubbing.select(names=[shown["name"]])
    dubbing.preview_range(first=109, last=109)

    assert dubbing.op(name="redub_range", wait=True) == {"result": ["FINISHED"]}

    (strip,) = results(dubbing)
    places = ("channel", "left", "right")
    assert [strip[key] for key in places] == [trimmed[key] for key in places] and strip["uid"] != trimmed["uid"]
