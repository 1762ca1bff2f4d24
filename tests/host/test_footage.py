"""Dubbing into footage on the timeline, with a real model server."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.clips import CUT, FRAMES, HERO, SIZE, moving_head, two_people
from tests.conftest import speechlike, write_wav

from .conftest import Blender
from .test_dub import dub

START = 41
CUT_OFF = 23


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, a cut, and one who leaves; beside it speech.wav of the same length."""
    film = two_people(tmp_path_factory.mktemp("footage"))
    write_wav(film.with_name("speech.wav"), speechlike(FRAMES / 25))
    return film


def set_up(blender: Blender, film: Path, size: tuple[int, int] = (64, 64), **settings: Any) -> None:
    """At 25 fps the actor from frame 41 on, and a sound that begins two frames later; both selected."""
    blender.new_scene(fps=25)
    blender.resolution(width=size[0], height=size[1])
    blender.add(kind="movie", file=str(film), name="actor", channel=1, start=START)
    blender.add(kind="sound", file=str(film.with_name("speech.wav")), name="speech", channel=2, start=START + 2)
    blender.settings(output="overlay", **settings)
    blender.select(names=["speech", "actor"])


def choose(blender: Blender, frame: int = START, person: tuple[float, float] = HERO) -> None:
    """Choose the face nearest to a point of what is shown at a frame."""
    blender.playhead(frame=frame)
    assert blender.op(name="find_faces", wait=True) == {"result": ["FINISHED"]}
    faces = blender.faces()
    distances = [np.hypot(face["centre"][0] - person[0], face["centre"][1] - person[1]) for face in faces]
    assert blender.op(name="choose_face", index=int(np.argmin(distances))) == {"result": ["FINISHED"]}


def pictures(strip: dict[str, Any]) -> list[np.ndarray]:
    """The frames of a strip."""
    return [np.asarray(Image.open(Path(strip["directory"]) / name)) for name in strip["elements"]]


def shown(blender: Blender, frame: int, folder: Path) -> np.ndarray:
    """What Blender renders."""
    return np.asarray(Image.open(blender.shown_picture(frame=frame, target=str(folder / "shown.png"))).convert("RGB"))


def test_an_actor_is_dubbed_in_place(dubbing: Blender, footage: Path, tmp_path: Path) -> None:
    set_up(dubbing, footage)
    choose(dubbing)

    strip = dub(dubbing)

    plan = dubbing.jobs()[-1]["plan"]
    assert plan["portrait"]["file"] == plan["pose"]["file"] == plan["output"]["footage"]["file"] == str(footage)
    assert plan["portrait"]["face"] == plan["pose"]["face"] == plan["output"]["footage"]["face"]
    assert (strip["left"], strip["right"], strip["channel"]) == (START + 2, START + FRAMES, 3)
    frames = pictures(strip)
    assert {frame.shape for frame in frames} == {(SIZE[1], SIZE[0], 4)}
    alphas = [frame[..., 3] for frame in frames]
    assert alphas[0][:, :320].max() == 255 and not alphas[0][:, 320:].any()
    # Behind the cut the same person is on the other side.
    assert not alphas[CUT - 2][:, :320].any() and alphas[CUT - 2][:, 320:].max() == 255
    assert not alphas[-1].any()


def test_an_overlay_lies_on_its_footage_to_the_pixel(dubbing: Blender, footage: Path, tmp_path: Path) -> None:
    set_up(dubbing, footage, SIZE)
    choose(dubbing)
    strip = dub(dubbing)
    composed = shown(dubbing, START + 4, tmp_path)
    dubbing.set_strip(name=strip["name"], mute=True)
    plain = shown(dubbing, START + 4, tmp_path)

    alpha = pictures(strip)[2][..., 3]
    assert np.array_equal(composed[alpha == 0], plain[alpha == 0])
    assert np.abs(composed[alpha == 255].astype(int) - plain[alpha == 255]).mean() > 1
    colours = pictures(strip)[2][alpha == 255][:, :3]
    assert np.abs(composed[alpha == 255].astype(int) - colours).max() <= 1


def test_at_1080p_all_outside_the_mask_is_the_footages_bit_for_bit(dubbing: Blender, tmp_path: Path) -> None:
    size, frames = (1920, 1080), 8
    film = moving_head(tmp_path, size, frames)
    write_wav(film.with_name("speech.wav"), speechlike(frames / 25))
    set_up(dubbing, film, size)
    strip = dub(dubbing)

    composed = [shown(dubbing, START + 2 + k, tmp_path) for k in range(frames - 2)]
    dubbing.set_strip(name=strip["name"], mute=True)
    plain = [shown(dubbing, START + 2 + k, tmp_path) for k in range(frames - 2)]

    for over, footage, dubbed in zip(composed, plain, pictures(strip), strict=True):
        mask = dubbed[..., 3] > 0
        assert over.shape == footage.shape == (*size[::-1], 3) and 0.02 < mask.mean() < 0.1
        assert np.array_equal(over[~mask], footage[~mask])
        assert np.abs(over[mask].astype(int) - footage[mask]).mean() > 1


PLACED = {"offset_x": 33.0, "offset_y": -12.0, "scale_x": 0.7, "scale_y": 0.9, "rotation": 0.2}


@pytest.mark.parametrize("output", ["overlay", "full_frame"])
def test_a_dub_takes_over_how_its_footage_lies(dubbing: Blender, footage: Path, tmp_path: Path, output: str) -> None:
    set_up(dubbing, footage, (320, 180))
    dubbing.settings(output=output)
    choose(dubbing)
    dubbing.set_strip(name="actor", use_flip_x=True)
    dubbing.place(name="actor", transform=PLACED, crop={"min_x": 30, "max_y": 20})
    dubbing.key_transform(name="actor", prop="offset_x", keys=[[START, 0.0], [START + 20, 40.0]])

    strip = dub(dubbing)

    assert dubbing.placed(name=strip["name"]) == dubbing.placed(name="actor")
    assert dubbing.described(name=strip["name"], props=["blend_type", "use_flip_x"]) == ["ALPHA_OVER", True]
    over = shown(dubbing, START + 10, tmp_path)
    dubbing.set_strip(name="actor", mute=True)
    alone = shown(dubbing, START + 10, tmp_path)
    if output == "full_frame":
        assert np.array_equal(over, alone) and alone.any()
    else:
        face = alone.any(axis=2)
        assert 50 < face.sum() < 0.2 * face.size


def test_an_overlay_is_graded_as_its_footage_is(dubbing: Blender, footage: Path, tmp_path: Path) -> None:
    set_up(dubbing, footage, SIZE)
    choose(dubbing)
    dubbing.grade(name="actor")
    strip = dub(dubbing)
    graded = shown(dubbing, START + 4, tmp_path)

    for name in ("actor", strip["name"]):
        dubbing.ungrade(name=name)
    plain = shown(dubbing, START + 4, tmp_path)
    dubbing.add_adjustment(name="all", channel=20, start=START, end=START + FRAMES)
    dubbing.grade(name="all")
    together = shown(dubbing, START + 4, tmp_path)

    alpha = pictures(strip)[2][..., 3]
    assert np.abs(graded[alpha == 255].astype(int) - plain[alpha == 255]).mean() > 10
    apart = np.abs(graded.astype(int) - together)
    assert apart[alpha == 255].max() <= 2 and np.array_equal(graded[alpha == 0], together[alpha == 0])


def test_an_overlay_fades_with_its_footage(dubbing: Blender, footage: Path, tmp_path: Path) -> None:
    set_up(dubbing, footage, SIZE)
    choose(dubbing)
    keys = [[START + 2, 1.0], [START + 12, 0.0]]
    dubbing.key_strip(name="actor", prop="blend_alpha", keys=keys)

    strip = dub(dubbing)

    assert dubbing.strip_keys(name=strip["name"], prop="blend_alpha") == [keys]
    opaque = pictures(strip)[0][..., 3] == 255
    full = shown(dubbing, START + 2, tmp_path)
    assert np.abs(full[opaque].astype(int) - pictures(strip)[0][opaque][:, :3]).max() <= 1
    assert not shown(dubbing, START + 12, tmp_path).any()


def test_sound_and_footage_meet_where_both_play(dubbing: Blender, footage: Path) -> None:
    set_up(dubbing, footage)
    dubbing.set_strip(name="speech", frame_start=START - 5)
    plan = dubbing.plan()
    assert (plan["frame_count"], Fraction(plan["speech"]["start"])) == (FRAMES - 5, Fraction(5, 25))
    assert Fraction(plan["output"]["footage"]["start"]) == Fraction(1, 50)
    dubbing.set_strip(name="speech", frame_start=START + 200)

    assert "No sound plays while the footage" in dubbing.op(name="dub")["error"]


def test_footage_of_another_rate_is_read_as_it_is_shown(blender: Blender, media: Path, tmp_path: Path) -> None:
    blender.add_adjusted_movie(file=str(media / "2997fps.mp4"), start=10)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=14)
    blender.settings(output="full_frame")
    blender.select(names=["speech", "2997fps.mp4"])

    plan = blender.plan()

    footage, pose = plan["output"]["footage"], plan["pose"]
    assert (footage["start"], footage["speed"]) == (pose["start"], pose["speed"])
    assert Fraction(footage["speed"]) == 1 and Fraction(footage["start"]) > Fraction(4, 24)


def test_a_dub_of_footage_in_a_meta_strip_lies_in_it(dubbing: Blender, footage: Path) -> None:
    set_up(dubbing, footage)
    choose(dubbing)
    dubbing.wrap_in_meta(name="actor", channel=5)
    dubbing.select(names=["speech", "actor"])

    strip = dub(dubbing)

    assert dubbing.parent(name=strip["name"]) == dubbing.parent(name="actor") == "meta"
    assert strip["left"] == START + 2


def test_the_result_follows_footage_that_moves(dubbing: Blender, footage: Path) -> None:
    set_up(dubbing, footage, pose_kind="fixed")
    dubbing.op(name="dub")
    dubbing.set_strip(name="actor", frame_start=START + 100)

    dubbing.finish()

    (strip,) = (one for one in dubbing.strips() if one["job"])
    assert strip["left"] == START + 102


def test_warnings_stand_in_the_panel_and_the_manifest(dubbing: Blender, footage: Path) -> None:
    set_up(dubbing, footage)
    choose(dubbing)
    strip = dub(dubbing)

    shown = " ".join(dubbing.panel(name="POSEDUB_PT_jobs"))
    manifest = json.loads((Path(strip["directory"]) / "manifest.json").read_text())
    kinds = {warning["kind"]: warning for warning in manifest["warnings"]}
    assert set(kinds) == {"scene_cut", "cut_off", "no_face"}
    assert (kinds["scene_cut"]["first"], kinds["cut_off"]["first"]) == (CUT - 2, CUT_OFF - 2)
    assert "at 00:00:00:12" in kinds["scene_cut"]["message"]
    # Timeline frame 53 shows the cut.
    index = [warning["kind"] for warning in manifest["warnings"]].index("scene_cut")
    dubbing.op(name="show_warning", index=index)
    assert dubbing.editing_state()["playhead"] == START + CUT
    assert "00:00:02:03: The footage cuts to another shot at 00:00:00:12" in shown


def test_whose_face_was_taken_is_said_where_none_was_chosen(dubbing: Blender, footage: Path) -> None:
    set_up(dubbing, footage)
    dub(dubbing)

    warnings = dubbing.jobs()[-1]["warnings"]
    (several,) = (warning for warning in warnings if warning["kind"] == "several_faces")
    assert (several["first"], several["end"]) == (0, FRAMES - 2)
    assert "2 faces are seen in the footage; the larger one" in " ".join(dubbing.panel(name="POSEDUB_PT_jobs"))


def test_the_mouth_only_amount_is_read_from_keys_frame_by_frame(dubbing: Blender, footage: Path) -> None:
    set_up(dubbing, footage, pose_kind="fixed", mouth_only=0.25)
    choose(dubbing)
    first = dub(dubbing)
    assert dubbing.jobs()[-1]["plan"]["output"]["mouth_only"] == [0.25]
    assert dubbing.described(name=first["name"], props=["posedub_mouth_only"]) == [0.25]
    for frame, value in ((START + 4, 0.25), (START + 6, 1.0)):
        dubbing.key(name=first["name"], prop="posedub_mouth_only", frame=frame, value=value)
    dubbing.linear_keys()

    second = dub(dubbing)

    amounts = dubbing.jobs()[-1]["plan"]["output"]["mouth_only"]
    assert amounts[:5] == pytest.approx([0.25, 0.25, 0.25, 0.625, 1.0]) and set(amounts[5:]) == {1.0}
    before, after = (
        [(Path(one["directory"]) / name).read_bytes() for name in one["elements"]] for one in (first, second)
    )
    same = [one == other for one, other in zip(before, after, strict=True)]
    gone = [not frame[..., 3].any() for frame in pictures(first)]
    assert same == [index < 3 or gone[index] for index in range(FRAMES - 2)]
    assert dubbing.pose_keys(name=second["name"], prop="posedub_mouth_only") == {
        "0": [[START + 4.0, 0.25], [START + 6.0, 1.0]]
    }
    assert f"Keys on {second['name']}" in dubbing.panel(name="POSEDUB_PT_output")


def test_found_faces_are_shown_and_one_is_chosen(dubbing: Blender, footage: Path) -> None:
    set_up(dubbing, footage)
    dubbing.playhead(frame=START)
    assert "No faces were found yet" in dubbing.op(name="choose_face")["error"]
    assert dubbing.op(name="find_faces") == {"result": ["FINISHED"]}
    assert "Starting..." in dubbing.panel(name="POSEDUB_PT_faces")
    dubbing.finish()

    faces = dubbing.faces()
    assert len(faces) == 2 and all(face["thumbnail"] == [96, 96] for face in faces)
    assert dubbing.panel(name="POSEDUB_PT_faces").count("[posedub.choose_face]") == 2
    dubbing.undo_push(message="before")
    dubbing.op_with_undo(name="choose_face", index=1)
    at = dubbing.plan()["output"]["footage"]["face"]
    assert at == {"crop": "auto", "at": faces[1]["centre"], "time": "1/50"}
    dubbing.undo()
    assert dubbing.plan()["output"]["footage"]["face"]["at"] is None


def test_the_chosen_face_stays_with_its_strip(dubbing: Blender, footage: Path, tmp_path: Path) -> None:
    set_up(dubbing, footage)
    choose(dubbing, frame=START + CUT + 1, person=(0.23, 0.5))
    before = dubbing.plan()["output"]["footage"]["face"]
    assert Fraction(before["time"]) == Fraction(2 * CUT + 3, 50)
    dubbing.split(name="actor", frame=START + 8)
    dubbing.save(path=str(tmp_path / "edit.blend"))
    dubbing.load(path=str(tmp_path / "edit.blend"))

    assert dubbing.plan()["output"]["footage"]["face"] == before
    assert dubbing.op(name="clear_face") == {"result": ["FINISHED"]}
    assert dubbing.plan()["output"]["footage"]["face"]["at"] is None


def test_nobody_in_the_picture_is_said(dubbing: Blender, media: Path) -> None:
    dubbing.add(kind="movie", file=str(media / "25fps.mp4"), name="grey", channel=1, start=1)
    dubbing.select(names=["grey"])

    assert "No face was found there; move the playhead" in dubbing.op(name="find_faces", wait=True)["error"]
    assert "No face was found" in " ".join(dubbing.panel(name="POSEDUB_PT_faces"))


def test_buttons_on_faces_say_why_they_are_grey(blender: Blender) -> None:
    assert "No footage: select a movie or image strip" in blender.op(name="find_faces")["error"]
    assert "No face was chosen" in blender.op(name="clear_face")["error"]


def test_the_output_panel_shows_what_belongs_to_the_mode(blender: Blender, media: Path) -> None:
    asked = "[posedub.consent]"
    assert blender.panel(name="POSEDUB_PT_output") == ["Output", "Invisible Mark", asked]
    blender.settings(output="full_frame")
    shown = blender.panel(name="POSEDUB_PT_output")
    assert "Select a movie or image strip" in shown
    assert shown[-5:] == ["Mouth Only", "Feather", "Keep Where Absent", "Invisible Mark", asked]
