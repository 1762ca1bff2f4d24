"""The built-in actor through the real add-on: keys in degrees, a second made anew, movement for a portrait's dub.

With POSEDUB_KEEP, a folder, the film that an editor would render of the turning actor is kept there with a sheet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from model_server.corpus.mesh import MeshReader
from tests.demo.run import INPUTS
from tests.demo.sheet import make_sheet
from tests.servers import ServerProcess

from .conftest import Blender, knowing
from .test_dae_talker import movement
from .test_dub import dub
from .test_takes import pictures

FPS, FRAMES, FIRST = 24, 96, 106
END = FIRST + FRAMES
LONG = 288
SECOND_WINDOW = 192  # the frame that the second window of ten seconds begins with
SPEECH = INPUTS / "speech.flac"


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that was given no weights."""
    with ServerProcess(tmp_path_factory.mktemp("built-in") / "data") as running:
        yield running


@pytest.fixture
def editing(blender: Blender, built_in: ServerProcess) -> Iterator[Blender]:
    """Blender that knows that server, with four seconds of speech selected."""
    with knowing(blender, built_in, SPEECH, END):
        yield blender


@pytest.fixture
def editing_long(blender: Blender, built_in: ServerProcess, tmp_path: Path) -> Iterator[Blender]:
    """The same with twelve seconds."""
    samples, rate = soundfile.read(SPEECH)
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 3), rate)
    with knowing(blender, built_in, tmp_path / "long.wav", FIRST + LONG):
        yield blender


def turning(blender: Blender, end: int) -> dict:
    """A dub by the actor, selected, whose yaw is keyed from -10 degrees at its first frame to 10 before frame `end`."""
    weights = next(one["weights_id"] for one in blender.offered() if one["engine"] == "dae_talker")
    blender.op(name="choose_weights", weights=weights)
    blender.settings(pose_kind="keyframes")
    for frame, yaw in ((FIRST, -10.0), (end - 1, 10.0)):
        blender.key(name="speech", prop="posedub_yaw", frame=frame, value=yaw)
    strip = dub(blender)
    blender.select(names=[strip["name"], "speech"])
    return strip


def seen_angles(files: list[Path]) -> np.ndarray:
    """Yaw, pitch and roll (n, 3) in degrees that the face mesh reads in pictures."""
    faces = [MeshReader().read(np.asarray(Image.open(file).convert("RGB"))) for file in files]
    return np.array([face.angles for face in faces if face])


def files_of(strip: dict) -> list[Path]:
    return [Path(strip["directory"]) / name for name in strip["elements"]]


def test_the_actors_head_follows_keys_in_degrees(editing: Blender) -> None:
    editing.resolution(width=256, height=256)
    strip = turning(editing, END)

    angles = seen_angles(files_of(strip))

    assert len(angles) == FRAMES
    keyed = np.linspace(-10, 10, FRAMES)
    yaw = angles[:, 0] - angles[:, 0].mean()
    assert np.corrcoef(yaw, keyed)[0, 1] > 0.98 and np.abs(yaw - keyed).mean() < 3
    assert (np.ptp(angles[:, 1:], axis=0) < 8).all()
    if keep := os.environ.get("POSEDUB_KEEP"):
        _keep(editing, strip, Path(keep))


def _keep(blender: Blender, strip: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    blender.render_range(target=str(folder / "turning_"), first=FIRST, end=END, movie=True)
    note = "The built-in actor, yaw keyed from -10 to 10 degrees."
    make_sheet(SPEECH, files_of(strip), Fraction(FPS), note, folder / "turning.png")


def test_a_changed_second_makes_the_frames_anew_that_it_reaches(editing_long: Blender) -> None:
    before = turning(editing_long, FIRST + LONG)
    for frame, pitch in ((260, 0.0), (272, 5.0), (284, 0.0)):
        editing_long.key(name=before["name"], prop="posedub_pitch", frame=FIRST + frame, value=pitch)

    after = dub(editing_long)

    changed = [k for k, (old, new) in enumerate(zip(pictures(before), pictures(after), strict=True)) if old != new]
    assert changed == list(range(SECOND_WINDOW, LONG))
    assert editing_long.jobs()[-1]["generated"] == len(changed)


def test_a_portrait_moves_as_the_actor_would(editing: Blender) -> None:
    editing.add(kind="image", file=str(INPUTS / "portrait.png"), name="face", channel=1, start=FIRST)
    editing.select(names=["speech", "face"])
    editing.settings(pose_kind="fixed")
    still = dub(editing)
    editing.select(names=["speech", "face", still["name"]])
    assert editing.op(name="pose_from_speech", amount=1.5, wait=True) == {"result": ["FINISHED"]}
    told = movement(editing, still["name"], FRAMES)

    moving = dub(editing)

    assert editing.jobs()[-1]["plan"]["pose"]["kind"] == "codes"
    before, after = seen_angles(files_of(still)), seen_angles(files_of(moving))
    assert (after.std(0)[:2] > 1.5 * before.std(0)[:2]).all()
    assert np.corrcoef(told[:, 0], after[:, 0])[0, 1] > 0.7
