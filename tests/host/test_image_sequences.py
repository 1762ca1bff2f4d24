"""Image sequences as footage, pose source and portrait: what a movie of the same pictures gives."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_server.pipeline.media.video import open_footage
from tests.clips import CUT, FRAMES

from .conftest import Blender
from .test_dub import dub
from .test_footage import START, choose, footage, pictures, set_up

__all__ = ["footage"]


@pytest.fixture(scope="module")
def numbered(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The pictures of the film, as the server decodes them."""
    folder = tmp_path_factory.mktemp("numbered")
    files = [folder / f"actor.{k:04}.png" for k in range(FRAMES)]
    for k, picture in open_footage(footage).iter_frames(range(FRAMES)):
        Image.fromarray(picture).save(files[k], compress_level=1)
    return files


def set_up_sequence(blender: Blender, film: Path, files: list[Path]) -> None:
    """As `set_up`, with the pictures instead of the film."""
    set_up(blender, film)
    blender.delete(name="actor")
    blender.add_image_sequence(files=files, name="actor", channel=1, start=START)
    blender.select(names=["speech", "actor"])


def dub_beside_still(blender: Blender, still: Path, output: str) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Frames and plan of a dub with a still as portrait and the actor as pose and footage."""
    blender.settings(output=output)
    choose(blender, frame=START + CUT + 1, person=(0.23, 0.5))
    blender.add(kind="image", file=str(still), name="still", channel=9, start=1)
    blender.select(names=["still"])
    blender.op(name="assign_source", role="portrait")
    blender.select(names=["speech", "actor"])
    return pictures(dub(blender)), blender.jobs()[-1]["plan"]


@pytest.mark.parametrize("output", ["overlay", "full_frame"])
def test_a_sequence_is_dubbed_as_a_movie_of_its_pictures(
    dubbing: Blender, footage: Path, numbered: list[Path], output: str
) -> None:
    set_up(dubbing, footage)
    expected, plan = dub_beside_still(dubbing, numbered[2], output)

    set_up_sequence(dubbing, footage, numbered)
    found, made = dub_beside_still(dubbing, numbered[2], output)

    for one, other in ((made["pose"], plan["pose"]), (made["output"]["footage"], plan["output"]["footage"])):
        assert Path(one["file"]).suffix == ".avi" and other["file"] == str(footage)
        assert {**one, "file": ""} == {**other, "file": ""}
    assert len(found) == len(expected) == FRAMES - 2
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_the_portrait_of_a_sequence_is_the_picture_in_which_its_face_was_chosen(
    dubbing: Blender, footage: Path, numbered: list[Path]
) -> None:
    set_up_sequence(dubbing, footage, numbered)
    choose(dubbing, frame=START + CUT + 1, person=(0.23, 0.5))
    dubbing.playhead(frame=START)

    plan = dubbing.plan()

    assert Path(plan["portrait"]["file"]) == numbered[CUT + 1] and plan["portrait"]["face"]["time"] is None
    assert Fraction(plan["pose"]["face"]["time"]) == Fraction(2 * CUT + 3, 50)


def test_the_pose_of_a_sequence_is_baked(dubbing: Blender, footage: Path, numbered: list[Path]) -> None:
    set_up_sequence(dubbing, footage, numbered)
    choose(dubbing)
    dubbing.settings(output="crop")
    strip = dub(dubbing)
    dubbing.select(names=[strip["name"]])

    assert dubbing.op(name="bake_pose", wait=True) == {"result": ["FINISHED"]}

    rows = dubbing.pose_rows(name=strip["name"], first=START + 2, end=START + FRAMES)
    assert len({tuple(row) for row in rows}) > 9


def test_a_sequence_of_other_pictures_fails_with_a_sentence(dubbing: Blender, footage: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{k}.bmp" for k in range(3)]
    for file in files:
        Image.new("RGB", (64, 64)).save(file)
    set_up_sequence(dubbing, footage, files)

    assert "is neither PNG nor JPEG. Render the strip to a movie." in dubbing.op(name="dub", wait=True)["error"]


def test_settings_of_a_take_find_the_sequence_again(dubbing: Blender, footage: Path, numbered: list[Path]) -> None:
    set_up_sequence(dubbing, footage, numbered)
    choose(dubbing)
    strip = dub(dubbing)
    dubbing.select(names=[])

    assert dubbing.op(name="take_restore", folder=strip["directory"]) == {"result": ["FINISHED"]}

    dubbing.select(names=["speech"])
    assert Fraction(dubbing.plan()["output"]["footage"]["start"]) == Fraction(5, 50)
