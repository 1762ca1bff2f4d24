"""Which strips a dub takes, and what the editor reads when one is missing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import Blender


def fill(blender: Blender, media: Path) -> None:
    """A still, two movies and two sounds; nothing selected."""
    blender.add(kind="image", file=str(media / "portrait.png"), name="face", channel=1, start=1)
    blender.add(kind="movie", file=str(media / "25fps.mp4"), name="pose", channel=2, start=1)
    blender.add(kind="movie", file=str(media / "2997fps.mp4"), name="actor", channel=3, start=1)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=4, start=1)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="music", channel=5, start=1)
    blender.select(names=[])


def chosen(plan: dict[str, Any]) -> tuple[str, str, str]:
    """File names of portrait and pose, and the name of the sound strip."""
    return Path(plan["portrait"]["file"]).name, Path(plan["pose"]["file"]).name, plan["name"].split()[0]


SELECTIONS = {
    ("speech", "face", "pose"): ("portrait.png", "25fps.mp4", "speech"),
    ("pose", "speech", "face"): ("portrait.png", "25fps.mp4", "speech"),
    ("speech", "pose"): ("25fps.mp4", "25fps.mp4", "speech"),
    ("music", "speech", "face"): ("portrait.png", "portrait.png", "music"),
    ("actor", "pose", "speech"): ("2997fps.mp4", "25fps.mp4", "speech"),
}


@pytest.mark.parametrize("names", SELECTIONS, ids="+".join)
def test_sources_come_from_the_selection(blender: Blender, media: Path, names: tuple[str, ...]) -> None:
    fill(blender, media)
    blender.select(names=names)

    assert chosen(blender.plan()) == SELECTIONS[names]


MISSING = {
    (): "No audio: select a sound strip, or set one.",
    ("face",): "No audio: select a sound strip, or set one.",
    ("speech",): "No portrait: select an image or movie strip, or set one.",
}


@pytest.mark.parametrize("names", MISSING, ids=lambda names: "+".join(names) or "nothing")
def test_disabled_button_says_what_is_missing(blender: Blender, media: Path, names: tuple[str, ...]) -> None:
    fill(blender, media)
    blender.select(names=names)

    assert MISSING[names] in blender.op(name="dub")["error"]


def test_assigned_sources_outlive_selection_rename_and_reload(blender: Blender, media: Path, tmp_path: Path) -> None:
    fill(blender, media)
    for role, name in (("portrait", "actor"), ("audio", "music"), ("pose", "pose")):
        blender.select(names=[name])
        assert blender.op(name="assign_source", role=role) == {"result": ["FINISHED"]}
    blender.select(names=["speech", "face"])
    blender.rename(name="actor", to="lead")
    blender.save(path=str(tmp_path / "edit.blend"))
    blender.load(path=str(tmp_path / "edit.blend"))

    assert chosen(blender.plan()) == ("2997fps.mp4", "25fps.mp4", "music")

    assert blender.op(name="clear_source", role="portrait") == {"result": ["FINISHED"]}
    assert chosen(blender.plan())[0] == "portrait.png"


def test_copy_of_an_assigned_strip_is_not_taken_for_it(blender: Blender, media: Path) -> None:
    fill(blender, media)
    blender.select(names=["pose"])
    blender.op(name="assign_source", role="pose")
    blender.duplicate(name="pose", file=str(media / "2997fps.mp4"))
    blender.select(names=["speech", "face"])

    assert chosen(blender.plan())[1] == "25fps.mp4"


def test_assigned_strip_that_was_deleted_is_named(blender: Blender, media: Path) -> None:
    fill(blender, media)
    blender.select(names=["pose"])
    blender.op(name="assign_source", role="pose")
    blender.delete(name="pose")
    blender.select(names=["speech", "face"])

    assert 'The pose strip "pose" is gone' in blender.op(name="dub")["error"]


def test_assigning_needs_a_fitting_strip(blender: Blender, media: Path) -> None:
    fill(blender, media)
    blender.select(names=["face"])

    assert "select a sound strip first" in blender.op(name="assign_source", role="audio")["error"]


def test_assigning_can_be_undone(blender: Blender, media: Path) -> None:
    fill(blender, media)
    blender.select(names=["speech", "face", "pose"])
    blender.undo_push(message="select")
    blender.op(name="assign_source", role="audio")
    blender.undo_push(message="assign")

    blender.undo()
    blender.select(names=["music", "face"])

    assert chosen(blender.plan())[2] == "music"


@pytest.mark.parametrize(("name", "file"), [("face", "gone.png"), ("speech", "gone.wav"), ("pose", "gone.mp4")])
def test_strip_whose_file_is_gone_is_named(blender: Blender, media: Path, tmp_path: Path, name: str, file: str) -> None:
    originals = {"face": "portrait.png", "speech": "speech.wav", "pose": "25fps.mp4"}
    kinds = {"face": "image", "speech": "sound", "pose": "movie"}
    (tmp_path / file).write_bytes((media / originals[name]).read_bytes())
    for channel, strip in enumerate(originals, 1):
        path = tmp_path / file if strip == name else media / originals[strip]
        blender.add(kind=kinds[strip], file=str(path), name=strip, channel=channel, start=1)
    (tmp_path / file).unlink()
    blender.select(names=list(originals))

    error = blender.op(name="dub")["error"]

    assert f'The file of strip "{name}" is gone: {tmp_path / file}. Relink or replace the strip.' in error
    assert not blender.jobs()


def test_portrait_of_an_image_sequence_is_the_picture_at_the_playhead(
    blender: Blender, media: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f"face_{k}.png" for k in range(5)]
    for file in files:
        Image.new("RGB", (8, 8)).save(file)
    blender.add_image_sequence(files=files, name="faces", channel=1, start=10)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=1)
    blender.settings(pose_kind="fixed")
    blender.select(names=["faces", "speech"])

    for playhead, index in ((1, 0), (10, 0), (13, 3), (99, 4)):
        blender.playhead(frame=playhead)
        assert Path(blender.plan()["portrait"]["file"]) == files[index]

    files[2].unlink()
    blender.settings(pose_kind="strip")
    blender.playhead(frame=10)
    assert f"The picture {files[2]} is gone." in blender.op(name="dub")["error"]


def test_an_image_sequence_poses_as_a_movie_of_the_scenes_rate(blender: Blender, media: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"face_{k}.png" for k in range(9)]
    for file in files:
        Image.new("RGB", (8, 8)).save(file)
    blender.add_image_sequence(files=files, name="faces", channel=1, start=10)
    blender.set_strip(name="faces", frame_offset_start=1)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=14)
    blender.select(names=["faces", "speech"])

    pose = blender.plan()["pose"]

    assert (Fraction(pose["start"]), Fraction(pose["speed"])) == (Fraction(9, 2) / 24, 1)
    blender.set_strip(name="faces", use_reverse_frames=True)
    assert 'The strip "faces" plays backwards.' in blender.op(name="dub")["error"]


def test_parameters_reach_the_plan(blender: Blender, media: Path) -> None:
    fill(blender, media)
    blender.select(names=["speech", "face", "pose"])
    blender.settings(mouth_strength=0.7, seed=42, precision="fp32", size="448", portrait_crop="aligned")

    plan = blender.plan()

    assert (plan["mouth_strength"], plan["seed"], plan["precision"], plan["size"]) == (0.7, 42, "fp32", 448)
    assert (plan["portrait"]["face"]["crop"], plan["pose"]["face"]["crop"]) == ("aligned", "auto")


def test_strips_inside_a_meta_strip_are_dubbed_above_it(blender: Blender, media: Path) -> None:
    fill(blender, media)
    blender.wrap_in_meta(name="speech", channel=9)
    blender.select(names=["speech", "face", "pose"])

    assert blender.placement_channel() == 9


def test_the_scene_that_is_edited_is_dubbed(blender: Blender, media: Path) -> None:
    fill(blender, media)
    blender.select(names=["speech", "face", "pose"])

    assert blender.finds_edited_scene() == (blender.version()[0] >= 5)
