"""Dubbing again from the dub strip that is selected, with a real model server."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from .conftest import Blender
from .test_dub import FRAMES, dub, results, set_up
from .test_takes import keyed_take


def test_the_selected_dub_brings_its_sources(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=61)
    first = dub(dubbing)
    before = dubbing.plan()
    dubbing.select(names=[first["name"]])

    assert first["name"] in " ".join(dubbing.panel(name="POSEDUB_PT_dub"))
    again = dubbing.plan()

    assert {key: again[key] for key in ("portrait", "pose", "frame_count")} == {
        key: before[key] for key in ("portrait", "pose", "frame_count")
    }
    assert dubbing.estimate() == [f"No frame to generate: all {FRAMES} are there", ""]


def test_keys_of_the_selected_dub_are_changed_and_dubbed(dubbing: Blender, media: Path) -> None:
    take = keyed_take(dubbing, media, seed=62)
    dubbing.select(names=[take["name"]])
    dubbing.op(name="pose_frontalise", first=108, last=109)
    assert dubbing.estimate()[0].startswith(f"2 of {FRAMES} frames to generate")

    dub(dubbing)

    assert dubbing.jobs()[-1]["generated"] == 2


def test_selected_and_assigned_sources_go_before_those_of_the_dub(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=63)
    name = dub(dubbing)["name"]
    dubbing.add(kind="movie", file=str(media / "2997fps.mp4"), name="other", channel=20, start=1)
    dubbing.select(names=[name, "other"])
    assert Path(dubbing.plan()["portrait"]["file"]).name == Path(dubbing.plan()["pose"]["file"]).name == "2997fps.mp4"
    dubbing.select(names=["pose"])
    dubbing.op(name="assign_source", role="portrait")
    dubbing.select(names=[name, "other"])
    assert Path(dubbing.plan()["portrait"]["file"]).name == "25fps.mp4"


def test_the_portrait_of_the_selected_dub_is_the_picture_it_was(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=64)
    dubbing.playhead(frame=100)
    dubbing.select(names=["pose", "speech"])
    name, portrait = dub(dubbing)["name"], dubbing.jobs()[-1]["plan"]["portrait"]
    assert Fraction(portrait["time"]) == Fraction(21, 50)

    dubbing.playhead(frame=110)
    dubbing.select(names=[name])

    assert dubbing.plan()["portrait"] == portrait


def test_all_sounds_of_the_selected_dub_are_dubbed_again(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=65)
    dubbing.add(kind="sound", file=str(media / "speech.wav"), name="more", channel=4, start=110)
    dubbing.set_strip(name="more", frame_final_end=114)
    dubbing.select(names=["speech", "more", "face", "pose"])
    assert dubbing.op(name="dub", sounds="together", wait=True) == {"result": ["FINISHED"]}
    (strip,) = results(dubbing)

    dubbing.select(names=[strip["name"]])

    assert dubbing.plan()["frame_count"] == 8
    assert dubbing.panel(name="POSEDUB_PT_dub").count("[posedub.dub]") == 1


def test_a_source_of_the_selected_dub_that_is_gone_is_named(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=66)
    name = dub(dubbing)["name"]
    dubbing.delete(name="face")
    dubbing.select(names=[name])

    assert f'The portrait strip "face" of "{name}" is gone' in dubbing.op(name="dub")["error"]
