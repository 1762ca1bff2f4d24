"""DAE-Talker through the real add-on: an actor is chosen, a sound is enough, and the head moves in degrees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server.engines.dae_talker.untrained import write_untrained
from tests.servers import ServerProcess

from .conftest import Blender, knowing
from .test_dub import dub, set_up
from .test_takes import pictures

FRAMES, FIRST, SIDE = 12, 106, 64


@pytest.fixture(scope="module")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(tmp_path_factory.mktemp("actor") / "actor.safetensors")


@pytest.fixture(scope="module")
def two_engines(tmp_path_factory: pytest.TempPathFactory, posed_weights: Path, actor: Path) -> Iterator[ServerProcess]:
    """A server with PC-AVS weights, its default, and with an actor."""
    options = ["--weights", str(posed_weights), "--weights", str(actor)]
    with ServerProcess(tmp_path_factory.mktemp("engines") / "data", options) as running:
        yield running


@pytest.fixture
def choosing(blender: Blender, two_engines: ServerProcess, media: Path) -> Iterator[Blender]:
    """Blender that knows that server until the test ends, with a sound strip selected and nothing else."""
    with knowing(blender, two_engines, media / "speech.wav", FIRST + FRAMES):
        yield blender


@pytest.fixture
def acting(choosing: Blender) -> Blender:
    """The same with the actor chosen."""
    weights = next(one["weights_id"] for one in choosing.offered() if one["engine"] == "dae_talker")
    assert choosing.op(name="choose_weights", weights=weights) == {"result": ["FINISHED"]}
    return choosing


def test_the_panel_shows_what_the_chosen_engine_needs(choosing: Blender) -> None:
    shown = choosing.panel(name="POSEDUB_PT_dub")
    assert "Engine" in shown and "posed (PC-AVS, untrained)" in shown and "Portrait" in shown
    assert choosing.weights_choices() == ["posed (PC-AVS, untrained)", "untrained toy (DAE-Talker)"]
    weights = next(one["weights_id"] for one in choosing.offered() if one["engine"] == "dae_talker")
    choosing.op(name="choose_weights", weights=weights)

    shown = choosing.panel(name="POSEDUB_PT_dub")

    assert "untrained toy (DAE-Talker)" in shown and "Portrait" not in shown and "speech" in shown
    settings = choosing.panel(name="POSEDUB_PT_settings")
    assert settings == ["Steps", "Head Movement", "Pose Crop", "Seed", "Shared Noise", "Precision"]
    assert choosing.pose_choices() == ["From Speech", "Keyframes", "From Strip", "Hold Still"]


def test_a_choice_that_the_server_does_not_know_is_the_default(choosing: Blender) -> None:
    choosing.op(name="choose_weights", weights="gone")
    assert "posed (PC-AVS, untrained)" in choosing.panel(name="POSEDUB_PT_dub")


def test_an_actor_and_a_sound_are_a_dub(acting: Blender) -> None:
    strip = dub(acting)

    assert (strip["left"], strip["right"]) == (FIRST, FIRST + FRAMES)
    folder = Path(strip["directory"])
    assert {Image.open(folder / name).size for name in strip["elements"]} == {(SIDE, SIDE)}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["weights"]["engine"], manifest["weights"]["kind"]) == ("dae_talker", "untrained")
    plan = manifest["plan"]
    assert (plan["portrait"], plan["pose"]["kind"], plan["size"], plan["steps"]) == (None, "speech", SIDE, 1)
    assert [source["role"] for source in manifest["sources"]] == ["speech"]


def test_a_portrait_may_be_set_where_several_steps_begin_with_noise(acting: Blender, media: Path) -> None:
    acting.add(kind="image", file=str(media / "portrait.png"), name="face", channel=1, start=1)
    acting.settings(steps="4", portrait_crop="aligned", seed=9)
    assert "None needed" in acting.panel(name="POSEDUB_PT_dub")
    plain = dub(acting)
    acting.select(names=["face"])
    acting.op(name="assign_source", role="portrait")
    acting.select(names=["speech"])
    assert "face" in acting.panel(name="POSEDUB_PT_dub")

    begun = dub(acting)

    assert acting.jobs()[-1]["plan"]["portrait"]["file"] == str(media / "portrait.png")
    assert pictures(begun) != pictures(plain)
    acting.settings(steps="1")
    assert "Portrait" not in acting.panel(name="POSEDUB_PT_dub")


def test_a_previewed_frame_is_that_of_the_dub(acting: Blender) -> None:
    acting.settings(seed=1, steps="4")
    acting.playhead(frame=FIRST + 3)
    assert acting.op(name="preview", wait=True) == {"result": ["FINISHED"]}
    seen = Image.open(acting.preview()["file"])
    assert seen.tobytes() == Image.open(Path(dub(acting)["directory"]) / "000003.png").tobytes()


def keyed(blender: Blender, seed: int) -> dict:
    """A dub whose yaw is keyed from -10 to 10 degrees."""
    blender.settings(seed=seed)
    name = dub(blender)["name"]
    for frame, yaw in ((FIRST, -10.0), (FIRST + FRAMES - 1, 10.0)):
        blender.key(name=name, prop="posedub_yaw", frame=frame, value=yaw)
    blender.settings(pose_kind="keyframes")
    blender.select(names=[name, "speech"])
    strip = dub(blender)
    blender.select(names=[strip["name"], "speech"])
    return strip


def test_handles_are_the_pose_in_degrees(acting: Blender) -> None:
    strip = keyed(acting, seed=2)

    codes = acting.jobs()[-1]["plan"]["pose"]["codes"]
    yaws = [row[0] for row in codes]
    assert (yaws[0], yaws[-1]) == pytest.approx((-10, 10)) and yaws == sorted(yaws)
    assert {tuple(row[1:]) for row in codes} == {(0.0, 0.0)}
    assert len(set(pictures(strip))) == FRAMES
    shown = acting.panel(name="POSEDUB_PT_pose")
    assert [text for text in shown if "°" in text or " to " in text] == [
        "Yaw (°)", "-15 to 15", "Pitch (°)", "-8 to 8", "Roll (°)", "-6 to 6"
    ]  # fmt: skip


def test_a_handle_outside_the_actors_range_is_a_sentence(acting: Blender) -> None:
    name = keyed(acting, seed=3)["name"]
    acting.key(name=name, prop="posedub_yaw", frame=FIRST + 3, value=30.0)

    error = acting.op(name="dub", wait=True)["error"]

    assert "has Yaw (degrees) " in error and "Keep it within -15 to 15." in error


def test_changed_keys_and_a_range_are_made_anew(acting: Blender) -> None:
    before = keyed(acting, seed=4)
    acting.key(name=before["name"], prop="posedub_pitch", frame=FIRST + 6, value=3.0)
    acting.select(names=[before["name"], "speech"])
    acting.preview_range(first=FIRST + 4, last=FIRST + 5)

    assert acting.op(name="redub_range", wait=True) == {"result": ["FINISHED"]}

    job = acting.jobs()[-1]
    assert (job["plan"]["first"], job["plan"]["end"], job["generated"]) == (4, 6, 2)


def test_a_range_is_made_anew_with_the_takes_own_engine(acting: Blender) -> None:
    name = dub(acting)["name"]
    acting.op(name="choose_weights", weights="")
    acting.select(names=[name])
    acting.settings(seed=8, steps="4")
    acting.preview_range(first=FIRST, last=FIRST + 1)

    assert acting.op(name="redub_range", wait=True) == {"result": ["FINISHED"]}

    plan = acting.jobs()[-1]["plan"]
    assert (plan["pose"]["kind"], plan["steps"], acting.jobs()[-1]["generated"]) == ("speech", 4, 2)


def test_handles_are_keyed_mirrored_and_baked(acting: Blender, media: Path) -> None:
    strip = dub(acting)
    acting.select(names=[strip["name"]])
    assert acting.op(name="key_handles") == {"result": ["FINISHED"]}
    assert set(acting.pose_keys(name=strip["name"], prop="posedub_roll")) == {"0"}
    assert acting.op(name="bake_pose", wait=True) == {"result": ["FINISHED"]}
    acting.key(name=strip["name"], prop="posedub_yaw", frame=FIRST, value=5.0)
    assert acting.op(name="pose_mirror") == {"result": ["FINISHED"]}
    assert acting.pose_rows(name=strip["name"], first=FIRST, end=FIRST + 1, prop="posedub_yaw") == [[-5.0]]


def test_the_choice_is_one_undo_step(acting: Blender) -> None:
    acting.undo()
    assert "posed (PC-AVS, untrained)" in acting.panel(name="POSEDUB_PT_dub")


HANDLES = ("posedub_yaw", "posedub_pitch", "posedub_roll")


def movement(blender: Blender, name: str, frames: int = FRAMES) -> np.ndarray:
    """Yaw, pitch and roll (frames, 3) of a strip."""
    columns = [blender.pose_rows(name=name, first=FIRST, end=FIRST + frames, prop=prop) for prop in HANDLES]
    return np.concatenate(columns, axis=1)


def test_pose_from_speech_keys_a_sound_that_is_then_dubbed_so(acting: Blender) -> None:
    assert acting.op(name="pose_from_speech", seed=2, tolerance=0.0, wait=True) == {"result": ["FINISHED"]}

    keys = [acting.pose_keys(name="speech", prop=prop)["0"] for prop in HANDLES]
    assert [[int(frame) for frame, _value in column] for column in keys] == [list(range(FIRST, FIRST + FRAMES))] * 3
    told = movement(acting, "speech")
    assert (told.std(0) > 0).all()
    acting.settings(seed=6)
    strip = dub(acting)
    plan = acting.jobs()[-1]["plan"]
    assert plan["pose"]["kind"] == "codes"
    np.testing.assert_allclose(plan["pose"]["codes"], told, atol=1e-4)
    np.testing.assert_allclose(movement(acting, strip["name"]), told, atol=1e-5)


def test_pose_from_speech_turns_a_dub_of_the_other_engine(choosing: Blender, media: Path) -> None:
    set_up(choosing, media, frames=FRAMES, seed=7)
    first = dub(choosing)
    choosing.select(names=["speech", "face", "pose", first["name"]])
    assert choosing.op(name="pose_from_speech", tolerance=0.0, wait=True) == {"result": ["FINISHED"]}
    told = movement(choosing, first["name"])
    assert choosing.pose_keys(name="speech", prop="posedub_yaw") == {} and (told.std(0) > 0).all()

    second = dub(choosing)

    pose = choosing.jobs()[-1]["plan"]["pose"]
    np.testing.assert_allclose(pose["angles"], told, atol=1e-4)
    assert pictures(second) != pictures(first)


def test_seed_amount_and_smoothing_of_a_pose_from_speech(choosing: Blender) -> None:
    def told(**given: float) -> np.ndarray:
        assert choosing.op(name="pose_from_speech", wait=True, **({"tolerance": 0.0} | given)) == {
            "result": ["FINISHED"]
        }
        return movement(choosing, "speech")

    plain, half, still = told(), told(amount=0.5), told(amount=0.0)
    np.testing.assert_allclose(half - plain.mean(0), (plain - plain.mean(0)) / 2, atol=1e-4)
    assert np.ptp(still, axis=0).max() < 1e-5
    assert (told(smoothing=4.0).std(0) < plain.std(0)).all()
    assert np.abs(told(seed=1) - told(seed=2)).max() > 0.01
    told(tolerance=1.0)
    assert len(choosing.pose_keys(name="speech", prop="posedub_yaw")["0"]) < FRAMES


def test_pose_from_speech_is_one_undo_step(choosing: Blender) -> None:
    choosing.undo_push(message="the editor's last step")
    assert choosing.op(name="pose_from_speech") == {"result": ["FINISHED"]}
    assert "A pose is being baked" in choosing.op(name="pose_from_speech")["error"]
    choosing.finish()
    assert set(choosing.pose_keys(name="speech", prop="posedub_roll")) == {"0"}

    choosing.undo()

    assert choosing.animated_paths() == []
    choosing.redo()
    assert set(choosing.pose_keys(name="speech", prop="posedub_roll")) == {"0"}


def test_pose_from_speech_can_be_given_up(choosing: Blender) -> None:
    choosing.op(name="pose_from_speech")
    assert "[posedub.bake_cancel]" in choosing.panel(name="POSEDUB_PT_pose")
    assert choosing.op(name="bake_cancel") == {"result": ["FINISHED"]}
    choosing.finish()
    assert choosing.pose_keys(name="speech", prop="posedub_yaw") == {}


def test_a_server_without_an_actor_says_that_it_tells_no_pose(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media)
    error = dubbing.op(name="pose_from_speech", wait=True)["error"]
    assert "None of the server's weights tell head movement from speech; start it with an actor's weights" in error
