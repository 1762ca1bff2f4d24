"""What Blender renders with dubs in it says so, signed; what has none is left alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_server.provenance.reading import verify
from model_server.provenance.record import COMPOSED
from tests.host.conftest import Blender
from tests.host.test_dub import dub, set_up

ROOT = Path(__file__).parents[2]


@pytest.fixture
def marking(dubbing: Blender, media: Path, tmp_path: Path) -> Iterator[Blender]:
    """Blender with a dub in frames 106 to 111, and the server's command of this tree, whose certificate is its own."""
    command = tmp_path / "posedub"
    home = f"XDG_DATA_HOME='{tmp_path}/home'"
    command.write_text(f"#!/bin/sh\ncd '{ROOT}' && {home} exec '{sys.executable}' -m model_server \"$@\"\n")
    command.chmod(0o755)
    dubbing.preferences(executable=str(command), mark_renders=True)
    dubbing.new_scene(fps=25)
    set_up(dubbing, media, frames=6)
    dub(dubbing)
    yield dubbing
    dubbing.preferences(executable="", mark_renders=True)


def test_a_movie_says_which_of_its_pictures_are_dubs_and_from_what(
    marking: Blender, media: Path, tmp_path: Path
) -> None:
    marking.render_range(target=str(tmp_path / "film.mp4"), first=104, end=110, movie=True)
    assert marking.marks() == [str(tmp_path / "film.mp4"), ""]
    found = verify(tmp_path / "film.mp4")
    (shown,) = found.record.dubs
    assert (found.state, shown.frames, found.record.digital_source_type) == ("intact", (2, 6), COMPOSED)
    assert {source.role: source.name for source in shown.sources} == {
        "portrait": "portrait.png", "speech": "speech.wav", "pose": "25fps.mp4",
    }  # fmt: skip
    assert shown.job == marking.jobs()[-1]["job_id"] and shown.weights["kind"] == "untrained"


def test_takes_are_signed_with_what_was_stated_about_the_person(marking: Blender, tmp_path: Path) -> None:
    marking.settings(seed=7)
    stated = {"consent": "permission", "remark": "by mail, 1 May"}
    assert marking.op(name="dub", wait=True, **stated) == {"result": ["FINISHED"]}
    marking.finish()
    folder = Path(marking.jobs()[-1]["plan"]["folder"])
    found = verify(folder)
    (shown,) = found.record.dubs
    assert (found.state, shown.frames, shown.consent) == ("intact", (0, 6), "permission given: by mail, 1 May")
    assert {source.role for source in shown.sources} == {"portrait", "speech", "pose"}
    marking.settings(seed=8)
    assert marking.op(name="dub", wait=True) == {"result": ["FINISHED"]}
    again = json.loads((Path(marking.jobs()[-1]["plan"]["folder"]) / "manifest.json").read_bytes())
    assert again["plan"]["consent"] == "permission given: by mail, 1 May", "asked once, kept for the portrait"


def test_pictures_are_listed_beside_them(marking: Blender, tmp_path: Path) -> None:
    marking.render_range(target=str(tmp_path / "out" / "frame_"), first=110, end=114)
    found = verify(tmp_path / "out")
    assert (found.state, found.record.dubs[0].frames) == ("intact", (0, 2))
    assert verify(tmp_path / "out" / "frame_0113.png").state == "intact"
    (tmp_path / "out" / "frame_0113.png").unlink()
    assert verify(tmp_path / "out").state == "changed"


def test_one_picture_has_its_mark_inside(marking: Blender, tmp_path: Path) -> None:
    marking.shown_picture(frame=108, target=str(tmp_path / "still.png"))
    assert verify(tmp_path / "still.png").record.dubs[0].frames == (0, 1)


def test_what_shows_no_dub_is_left_alone(marking: Blender, tmp_path: Path) -> None:
    marking.render_range(target=str(tmp_path / "film.mp4"), first=90, end=94, movie=True)
    marking.set_strip(name=next(one["name"] for one in marking.strips() if one["job"]), mute=True)
    marking.render_range(target=str(tmp_path / "muted.mp4"), first=104, end=110, movie=True)
    assert verify(tmp_path / "film.mp4").state == verify(tmp_path / "muted.mp4").state == "unmarked"


def test_marks_can_be_left_out(marking: Blender, tmp_path: Path) -> None:
    marking.preferences(mark_renders=False)
    marking.render_range(target=str(tmp_path / "film.mp4"), first=104, end=110, movie=True)
    assert verify(tmp_path / "film.mp4").state == "unmarked"


def test_a_render_that_could_not_be_marked_is_there_and_says_why(marking: Blender, tmp_path: Path) -> None:
    marking.preferences(executable=str(tmp_path / "nothing"))
    marking.render_range(target=str(tmp_path / "film.mp4"), first=104, end=110, movie=True)
    marked, problem = marking.marks()
    assert "has no mark" in problem and "posedub" in problem
    assert problem in " ".join(marking.panel(name="POSEDUB_PT_dub"))
    assert verify(tmp_path / "film.mp4").state == "unmarked"
