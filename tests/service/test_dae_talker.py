"""DAE-Talker through server and command, with an actor of a few thousand parameters who was never trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import grpc
import numpy as np
import pytest

from model_server.engines.dae_talker.untrained import write_untrained
from model_server.errors import PoseDubError
from model_server.files import file_digest
from model_server.jobs.model import FrameMade
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FootageSource,
    Output,
    Portrait,
    PoseCodes,
    PoseFixed,
    PoseFrontal,
    PoseSpeech,
    PoseVideo,
    Speech,
)
from model_server.service import rpc
from model_server.service.messages import dubbing, media
from model_server.service.remote import Address, RemoteServer
from tests.cli.commands import posedub
from tests.clips import still_head
from tests.pipeline.conftest import INPUTS
from tests.servers import ServerProcess
from tests.service.test_server import frames_of

FRAMES, SIDE, RATE = 12, 64, Fraction(25)
SOUND, PORTRAIT, TURNING = INPUTS / "speech.flac", INPUTS / "portrait.png", INPUTS / "pose.mp4"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(tmp_path_factory.mktemp("weights") / "actor.safetensors")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return still_head(tmp_path_factory.mktemp("footage"), (320, 240), FRAMES, 0.7)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data", ["--weights", str(weights)]) as process:
        yield process


@pytest.fixture(scope="module")
def remote(server: ServerProcess, footage: Path) -> Iterator[RemoteServer]:
    with RemoteServer(Address(server.address)) as connection:
        for path in (SOUND, PORTRAIT, TURNING, footage):
            connection.add(file_digest(path), path)
        yield connection


def request(frames: int = FRAMES, **changes: object) -> DubRequest:
    spec = DubSpec(None, Speech(file_digest(SOUND)), PoseSpeech(), RATE, frames, size=SIDE)
    return DubRequest(replace(spec, **changes))


def codes(*rows: tuple[float, float, float], frames: int = FRAMES) -> PoseCodes:
    return PoseCodes((*rows, *[rows[-1]] * (frames - len(rows))))


def test_the_handshake_says_what_the_actor_takes(remote: RemoteServer) -> None:
    (engine,) = remote.info().engines
    traits = remote.traits("")
    assert (engine.name, traits.title, traits.portrait, traits.portrait_optional) == (
        "dae_talker", "DAE-Talker", False, True
    )  # fmt: skip
    assert traits.pose_sources == ("speech", "codes", "video", "fixed")
    assert [(one.name, one.unit, one.low, one.high) for one in traits.pose_controls] == [
        ("yaw", "degrees", -15, 15), ("pitch", "degrees", -8, 8), ("roll", "degrees", -6, 6)
    ]  # fmt: skip
    assert (traits.reach, traits.reach_seconds) == (0, 15)
    sizes = remote.sizes("")
    assert sizes and (sizes.low, sizes.high) == (SIDE, SIDE)


def test_speech_alone_makes_a_dub_and_any_range_the_same_frames(remote: RemoteServer) -> None:
    whole = request()
    preview, approximate = remote.preview(whole.spec, 9)
    made = frames_of(remote, remote.submit(DubRequest(whole.spec, 3, 6)), 3)
    full = frames_of(remote, remote.submit(whole))
    assert made == {k: full[k] for k in range(3, 6)}
    assert (preview, approximate) == (full[9], False)
    assert {decode_png(png).shape for png in full.values()} == {(SIDE, SIDE, 3)}
    assert len(set(full.values())) == FRAMES


def test_frames_of_a_known_pose_are_not_made_again(remote: RemoteServer) -> None:
    still = request(40, pose=codes((0.0, 0.0, 0.0), frames=40), steps=4)
    frames_of(remote, remote.submit(still))
    assert remote.estimate(still).generated_frames == 0
    changed = request(40, pose=codes((0.0, 0.0, 0.0), (5.0, 0.0, 0.0), frames=40), steps=4)
    assert remote.estimate(changed).generated_frames == 40
    assert remote.estimate(replace(still, spec=replace(still.spec, pose_gain=0.5))).generated_frames == 0


@pytest.mark.parametrize("change", [{"steps": 4}, {"steps": 20}, {"steps": 4, "shared_noise": False}])
def test_settings_change_the_pictures(remote: RemoteServer, change: dict) -> None:
    usual, other = (frames_of(remote, remote.submit(request(3, **given))) for given in ({}, change))
    assert all(usual[k] != other[k] for k in range(3))


def test_the_head_moves_as_in_a_video_and_is_held_still(remote: RemoteServer) -> None:
    moving = PoseVideo(file_digest(TURNING), start=1 / (2 * RATE))
    turned, held = (frames_of(remote, remote.submit(request(pose=pose))) for pose in (moving, PoseFixed()))
    assert turned != held


def test_angles_of_a_video_are_measured(server: ServerProcess) -> None:
    times = [media.Rational(numerator=k, denominator=5) for k in range(6)]
    asked = dubbing.ExtractPoseRequest(asset_id=file_digest(TURNING), times=times)
    with grpc.insecure_channel(server.address) as channel:
        values = [value for part in rpc.Stub(channel).ExtractPose(asked) for value in part.values]
    angles = np.reshape(values, (6, 3))
    assert np.abs(angles).max() < 45 and np.ptp(angles[:, 0]) > 2


def test_a_portrait_may_say_where_rendering_begins(remote: RemoteServer) -> None:
    portrait = Portrait(file_digest(PORTRAIT))
    begun, usual = (frames_of(remote, remote.submit(request(2, portrait=one, steps=4))) for one in (portrait, None))
    assert begun[0] != usual[0]
    events = list(remote.events(remote.submit(request(2, portrait=portrait))))
    assert not any(isinstance(event, FrameMade) for event in events)
    assert "The one-step decoder knows the actor's own noise only" in events[-1].job.error


@pytest.mark.parametrize(("mode", "channels"), [("overlay", 4), ("full_frame", 3)])
def test_a_dub_into_footage_of_the_actor(remote: RemoteServer, footage: Path, mode: str, channels: int) -> None:
    source = FootageSource(file_digest(footage), start=1 / (2 * RATE))
    pose = PoseVideo(file_digest(footage), start=1 / (2 * RATE))
    made = frames_of(remote, remote.submit(request(pose=pose, output=Output(mode, source))))
    assert {decode_png(png).shape for png in made.values()} == {(240, 320, channels)}
    assert decode_png(made[0]).any()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pose": PoseFrontal()}, "takes no pose source frontal; choose one of speech, codes, video, fixed"),
        ({"pose": codes((0.0,) * 12)}, "must be 3 finite numbers"),
        ({"size": 224}, "set the picture size to 64"),
        ({"steps": 101}, "steps 101 is outside 1 to 100"),
        ({"pose_gain": 2.0}, "pose gain 2.0 is outside 0 to 1.5"),
    ],
)
def test_what_it_cannot_do_is_a_sentence(remote: RemoteServer, change: dict, sentence: str) -> None:
    with pytest.raises(PoseDubError, match=sentence):
        remote.submit(request(**change))


def test_the_command_dubs_with_an_actor_and_a_sound_alone(weights: Path, tmp_path: Path) -> None:
    words = ["dub", "--audio", SOUND, "--weights", weights, "--data", tmp_path / "data", "--range", "0:4"]
    posedub(*words, "--out", tmp_path / "frames")
    posedub(*words, "--out", tmp_path / "slow", "--steps", 4, "--pose-gain", 0.5, "--no-shared-noise")
    one, other = (decode_png((tmp_path / name / "000003.png").read_bytes()) for name in ("frames", "slow"))
    assert one.shape == other.shape == (SIDE, SIDE, 3) and (one != other).any()


def test_the_command_dubs_into_footage_of_the_actor(weights: Path, footage: Path, tmp_path: Path) -> None:
    words = ["dub", "--audio", SOUND, "--into", footage, "--weights", weights, "--data", tmp_path / "data"]
    posedub(*words, "--range", "0:2", "--out", tmp_path / "frames")
    assert decode_png((tmp_path / "frames" / "000001.png").read_bytes()).shape == (240, 320, 3)


def test_the_command_says_what_an_actors_file_holds(weights: Path) -> None:
    said = posedub("weights", "info", weights).stdout
    assert "DAE-Talker" in said and "untrained" in said and "speech2latent" in said
    assert "Seen poses: yaw -15 to 15, pitch -8 to 8, roll -6 to 6 degrees" in said
