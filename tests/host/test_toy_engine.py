"""An engine that wants something else than PC-AVS, through the real add-on: no portrait, and a pose in degrees."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.servers import ServerProcess

from .conftest import NOWHERE, Blender, knowing
from .test_dub import dub, results
from .test_takes import pictures

TOY = Path(__file__).parents[1] / "toy_engine"
FRAMES, FIRST = 12, 106
REACH = 2
"""Frames to either side on which a frame of the toy depends."""


@pytest.fixture(scope="module")
def toy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose weights are the toy engine's."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOY))
        weights = importlib.import_module("toy_engine").write_weights(folder / "toy.safetensors")
    found = os.pathsep.join(filter(None, (str(TOY), os.environ.get("PYTHONPATH", ""))))
    options = ["--weights", str(weights)]
    with ServerProcess(folder / "data", options, environment={"PYTHONPATH": found}) as running:
        yield running


@pytest.fixture
def toying(blender: Blender, toy_server: ServerProcess, media: Path) -> Iterator[Blender]:
    """Blender that knows the toy's server until the test ends, with a sound strip selected and nothing else."""
    with knowing(blender, toy_server, media / "speech.wav", FIRST + FRAMES):
        yield blender


def test_panels_show_what_the_engine_takes(toying: Blender) -> None:
    shown = toying.panel(name="POSEDUB_PT_dub")
    assert "Portrait" not in shown and "speech" in shown
    assert toying.panel(name="POSEDUB_PT_settings") == ["Seed", "Precision"]
    assert toying.pose_choices() == ["From Speech", "Keyframes"]


def test_panels_show_the_usual_where_the_server_changes(toying: Blender, blender: Blender) -> None:
    blender.preferences(mode="address", address=NOWHERE)
    assert "Portrait" in blender.panel(name="POSEDUB_PT_dub")
    assert blender.pose_choices() == ["From Strip", "Portrait's Own", "Frontal", "Keyframes"]


def test_a_dub_of_speech_alone(toying: Blender) -> None:
    strip = dub(toying)

    assert (strip["left"], strip["right"]) == (FIRST, FIRST + FRAMES)
    folder = Path(strip["directory"])
    assert {Image.open(folder / name).size for name in strip["elements"]} == {(128, 128)}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["weights"]["engine"] == "toy" and manifest["state"] == "done"
    plan = manifest["plan"]
    assert (plan["portrait"], plan["pose"]["kind"], plan["size"]) == (None, "speech", 128)
    assert [source["role"] for source in manifest["sources"]] == ["speech"]


def test_a_frame_is_previewed_as_the_dub_shows_it(toying: Blender) -> None:
    toying.playhead(frame=FIRST + 3)
    assert toying.op(name="preview", wait=True) == {"result": ["FINISHED"]}
    seen = Image.open(toying.preview()["file"])

    made = Image.open(Path(dub(toying)["directory"]) / "000003.png")

    assert seen.tobytes() == made.tobytes()


def keyed(blender: Blender, seed: int) -> dict:
    """A dub whose pose is keyed: yaw rises, the head does not nod."""
    blender.settings(seed=seed)
    name = dub(blender)["name"]
    blender.select(names=[name, "speech"])
    assert blender.op(name="bake_pose", wait=True) == {"result": ["FINISHED"]}
    assert set(map(tuple, blender.pose_rows(name=name, first=FIRST, end=FIRST + FRAMES))) == {(0.0,) * 12}
    for frame, yaw in ((FIRST, 0.0), (FIRST + FRAMES - 1, 11.0)):
        blender.key(name=name, prop="posedub_pose", frame=frame, value=yaw, index=0)
    strip = dub(blender)
    blender.select(names=[strip["name"], "speech"])
    return strip


def test_controls_have_the_engines_names_units_and_ranges(toying: Blender) -> None:
    toying.select(names=[dub(toying)["name"]])

    shown = toying.panel(name="POSEDUB_PT_pose")

    assert [text for text in shown if text in CONTROLS] == ["Yaw (degrees)", "-20 to 20", "Nod", "0 to 1"]
    assert not {"Yaw (°)", "Pitch (°)", "Roll (°)"} & set(shown)


CONTROLS = {"Yaw (degrees)", "-20 to 20", "Nod", "0 to 1"}


def test_changed_keys_generate_the_frames_that_depend_on_them(toying: Blender) -> None:
    before = keyed(toying, seed=1)
    toying.key(name=before["name"], prop="posedub_pose", frame=FIRST + 6, value=0.5, index=1)
    for frame in (FIRST + 5, FIRST + 7):
        toying.key(name=before["name"], prop="posedub_pose", frame=frame, value=0.0, index=1)

    after = dub(toying)

    pairs = zip(pictures(after), pictures(before), strict=True)
    changed = [k for k, (one, other) in enumerate(pairs) if one != other]
    assert changed == list(range(6 - REACH, 6 + REACH + 1))
    assert toying.jobs()[-1]["generated"] == len(changed)


def test_a_range_is_made_anew(toying: Blender) -> None:
    before = keyed(toying, seed=2)
    toying.settings(seed=3)
    toying.preview_range(first=FIRST + 4, last=FIRST + 5)
    uids = {strip["uid"] for strip in results(toying)}

    assert toying.op(name="redub_range", wait=True) == {"result": ["FINISHED"]}

    (after,) = (strip for strip in results(toying) if strip["uid"] not in uids)
    pairs = zip(pictures(after), pictures(before), strict=True)
    assert [k for k, (one, other) in enumerate(pairs) if one != other] == [4, 5]


def test_a_key_outside_the_engines_range_is_a_sentence(toying: Blender) -> None:
    name = keyed(toying, seed=4)["name"]
    toying.key(name=name, prop="posedub_pose", frame=FIRST + 3, value=30.0, index=0)

    error = toying.op(name="dub", wait=True)["error"]

    assert "has Yaw (degrees) 30 at frame" in error and "Keep it within -20 to 20." in error
