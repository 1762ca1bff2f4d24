"""The client against the real model server, in a process of its own."""

import sys
from dataclasses import replace
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from blender_addon.client.connection import Connection, Endpoint
from blender_addon.client.server_process import LocalServer, ServerState
from blender_addon.core.events import (
    Connected,
    Disconnected,
    FacesFailed,
    FramesSaved,
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobFinished,
    PoseFailed,
    PoseRead,
)
from blender_addon.core.faces import FaceChoice, FacesFound, FacesRequest
from blender_addon.core.files import sha256_of
from blender_addon.core.manifest import read_manifest
from blender_addon.core.naming import frame_name
from blender_addon.core.output import FootageSource, Output
from blender_addon.core.plan import DubPlan, PortraitSource, PoseRequest, PoseSource, SpeechSource
from blender_addon.core.pose_map import PoseMap
from model_server.engines.weights import default_weights
from tests.clips import hero, noisy, other
from tests.limits import HANGS
from tests.pipeline.conftest import paste, scene
from tests.servers import ServerProcess, free_port

# More than pass a closed gate.
MANY = 40
ALIGNED = FaceChoice("aligned")


@pytest.fixture(scope="module")
def real(tmp_path_factory, gate):
    with ServerProcess(tmp_path_factory.mktemp("real") / "data", gate=gate) as server:
        yield server


@pytest.fixture
def real_plan(media, tmp_path):
    return DubPlan(
        uid="u1",
        name="Drawing",
        folder=tmp_path / "v001",
        portrait=PortraitSource(media / "portrait.png", face=ALIGNED),
        speech=SpeechSource(media / "speech.wav"),
        pose=PoseSource("video", media / "pose.mp4", ALIGNED, Fraction(1, 25)),
        fps=Fraction(24000, 1001),
        frame_count=8,
        first=0,
        end=8,
    )


def pictures(plan):
    return [(plan.folder / frame_name(index)).read_bytes() for index in range(plan.first, plan.end)]


def test_a_dub_and_a_range_of_it(real, session_towards, real_plan):
    session = session_towards(real.address)
    session.start(real_plan)
    assert session.end() == JobFinished("u1", 8)
    assert all(picture.startswith(b"\x89PNG") for picture in pictures(real_plan))
    part = replace(real_plan, uid="u2", folder=real_plan.folder.with_name("v002"), first=3, end=5)
    session.start(part)
    assert session.end("u2") == JobFinished("u2", 2)
    assert pictures(part) == pictures(real_plan)[3:5]
    manifest = read_manifest(real_plan.folder)
    assert (manifest.state, manifest.weights.kind) == ("done", default_weights().kind)


def test_the_same_dub_again_comes_from_the_store(real, session_towards, real_plan):
    session = session_towards(real.address)
    session.start(real_plan)
    session.end()
    again = replace(real_plan, uid="u2", folder=real_plan.folder.with_name("v002"))
    session.start(again)
    assert session.end("u2") == JobFinished("u2", 8)
    first, second = session.of(JobAccepted)
    assert first.job_id == second.job_id
    assert pictures(again) == pictures(real_plan)


@pytest.mark.slow
def test_killed_server_changes_no_byte(tmp_path, session_towards, real, real_plan):
    calm = session_towards(real.address)
    calm.start(real_plan)
    assert calm.end() == JobFinished("u1", 8)
    restless = replace(real_plan, uid="u2", folder=real_plan.folder.with_name("v002"))
    with ServerProcess(tmp_path / "data") as server:
        session = session_towards(server.address, retry_for=HANGS)
        session.start(restless)
        session.until(FramesSaved)
        server.kill()
        server.start()
        assert session.end("u2") == JobFinished("u2", 8)
    assert pictures(restless) == pictures(real_plan)


def test_cancelled_job_can_be_taken_up_again(real, gate, session_towards, real_plan):
    plan = replace(real_plan, seed=11, frame_count=MANY, end=MANY)
    session = session_towards(real.address)
    with gate.closed():
        session.start(plan)
        session.until(FramesSaved)
        session.cancel("u1")
        ended = session.end()
    assert isinstance(ended, JobCancelled) and ended.frames > 0
    session.start(plan)
    assert session.end() == JobFinished("u1", MANY)


def test_bad_media_are_one_sentence(real, session_towards, real_plan, tmp_path):
    (tmp_path / "talk.wav").write_text("this is no sound\n" * 100)
    session = session_towards(real.address)
    session.start(replace(real_plan, speech=SpeechSource(tmp_path / "talk.wav")))
    ended = session.end()
    assert isinstance(ended, JobFailed)
    assert ended.message.endswith(".") and "Traceback" not in ended.message


def test_unknown_weights_are_refused(real, session_towards, real_plan):
    session = session_towards(real.address)
    session.start(replace(real_plan, weights_id="ab" * 32))
    ended = session.end()
    assert isinstance(ended, JobFailed) and "weights" in ended.message


def test_wrong_token(tmp_path, session_towards, real_plan):
    (tmp_path / "token").write_text("right\n")
    with ServerProcess(tmp_path / "data", ["--token-file", str(tmp_path / "token")]) as server:
        session = session_towards(server.address, "wrong")
        session.start(real_plan)
        assert "refused the token" in session.end().message
        session = session_towards(server.address, "right")
        session.check()
        assert isinstance(session.until(Connected, Disconnected), Connected)


def test_pose_codes_of_a_movie(real, media):
    with Connection(Endpoint(real.address)) as connection:
        sha256, _size = sha256_of(media / "pose.mp4")
        connection.upload(media / "pose.mp4", sha256)
        times = tuple(Fraction(k, 25) for k in range(5))
        (block,) = connection.pose(sha256, PoseRequest("pose", media / "pose.mp4", ALIGNED, times))
    assert len(block.rows) == 5 and all(len(row) == 12 for row in block.rows)


@pytest.fixture(scope="module")
def posed(tmp_path_factory, posed_weights, untrained_weights):
    """A server whose first weights tell head angles, and whose second ones do not."""
    options = ["--weights", str(posed_weights), "--weights", str(untrained_weights)]
    with ServerProcess(tmp_path_factory.mktemp("posed") / "data", options) as server:
        yield server


def test_pose_maps_arrive_where_weights_have_one(posed, pose_map):
    with Connection(Endpoint(posed.address)) as connection:
        first, second = connection.info().weights
    parts = (pose_map.to_code, pose_map.frontal, pose_map.to_angles, pose_map.zero, pose_map.residual)
    assert first.pose_map == PoseMap(*parts)
    assert second.pose_map is None


def test_angles_reach_the_generator_as_codes(posed, session_towards, real_plan):
    session = session_towards(posed.address)
    still, angles = ((0.0,) * 12,) * 8, ((10.0, -5.0, 2.0),) * 8
    turned = tuple(value + 0.0 for value in (10 / 32, 10 / 256 - 5 / 32, -5 / 256 + 2 / 32, 2 / 256, *(0.0,) * 8))
    plans = [
        replace(real_plan, uid=uid, folder=real_plan.folder.with_name(uid), pose=pose)
        for uid, pose in (
            ("degrees", PoseSource("codes", codes=still, angles=angles)),
            ("codes", PoseSource("codes", codes=(turned,) * 8)),
            ("still", PoseSource("codes", codes=still)),
        )
    ]
    for plan in plans:
        session.start(plan)
        assert session.end(plan.uid) == JobFinished(plan.uid, 8)
    assert pictures(plans[0]) == pictures(plans[1]) != pictures(plans[2])
    assert read_manifest(plans[0].folder).plan.pose.angles == angles


def test_angles_are_refused_by_weights_that_do_not_tell_them(posed, session_towards, real_plan):
    session = session_towards(posed.address)
    with Connection(Endpoint(posed.address)) as connection:
        weights_id = connection.info().weights[1].weights_id
    pose = PoseSource("codes", codes=((0.0,) * 12,) * 8, angles=((10.0, 0.0, 0.0),) * 8)
    session.start(replace(real_plan, pose=pose, weights_id=weights_id))
    ended = session.end()
    assert isinstance(ended, JobFailed) and not ended.retryable
    assert ended.message == ("The weights untrained lite do not tell head angles. Clear the yaw, pitch and roll keys.")


def test_a_pose_read_and_sent_as_codes_gives_the_same_pictures(real, session_towards, real_plan):
    session, pose = session_towards(real.address), real_plan.pose
    times = tuple(pose.start + pose.speed * k / real_plan.fps for k in range(8))
    session.read_pose(PoseRequest("pose", pose.file, pose.face, times))
    read = session.until(PoseRead, PoseFailed)
    assert isinstance(read, PoseRead) and len(read.rows) == 8 and not read.held
    session.start(real_plan)
    session.end()
    baked = replace(
        real_plan, uid="u2", folder=real_plan.folder.with_name("v002"), pose=PoseSource("codes", codes=read.rows)
    )
    session.start(baked)
    session.end("u2")
    assert pictures(baked) == pictures(real_plan)


def test_a_pose_that_cannot_be_read_says_why(real, session_towards, media, tmp_path):
    session = session_towards(real.address)
    (tmp_path / "none.mp4").write_bytes(b"not a movie")
    for file, words in (
        (tmp_path / "none.mp4", "neither a picture nor a movie"),
        (tmp_path / "gone.mp4", "gone.mp4 cannot be read"),
    ):
        session.read_pose(PoseRequest("pose", file, ALIGNED, (Fraction(0),)))
        failed = session.until(PoseRead, PoseFailed)
        assert isinstance(failed, PoseFailed) and words in failed.message


def test_managed_server_marks_untrained_weights(tmp_path, session_towards, real_plan, untrained_weights):
    command, address = [sys.executable, "-m", "model_server"], f"127.0.0.1:{free_port()}"
    server = LocalServer(command, tmp_path / "data", tmp_path / "log", address, ["--weights", str(untrained_weights)])
    server.start()
    try:
        assert server.wait(HANGS) is ServerState.RUNNING, server.advice + server.log_tail()
        assert server.owned
        session = session_towards(address)
        session.start(real_plan)
        assert session.end() == JobFinished("u1", 8)
        assert read_manifest(real_plan.folder).weights.kind == "untrained"
    finally:
        server.stop(grace=HANGS)
        server.wait(HANGS)
    assert server._process.returncode == 0


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A large noisy picture of two people: its frames exceed one message."""
    picture = scene(1280, 960)
    paste(picture, hero(), (360, 480), 1.0)
    paste(picture, other(), (930, 480), 0.8)
    file = tmp_path_factory.mktemp("crowd") / "crowd.png"
    Image.fromarray(noisy(picture, 1)).save(file)
    return file


def test_large_frames_come_whole(real, session_towards, real_plan, crowd):
    face = FaceChoice("auto", (0.28, 0.5))
    output = Output("full_frame", FootageSource(crowd, face), mouth_only=(0.0, 0.5, 1.0))
    session = session_towards(real.address)
    plan = replace(real_plan, frame_count=3, end=3, output=output)
    session.start(plan)
    assert session.end() == JobFinished("u1", 3)
    frames = [np.asarray(Image.open(BytesIO(picture))) for picture in pictures(plan)]
    changed = [(frame != np.asarray(Image.open(crowd))).any(axis=2) for frame in frames]
    assert all(picture[:640].any() for picture in changed)
    assert not any(picture[:, 640:].any() for picture in changed)
    areas = [int(picture.sum()) for picture in changed]
    assert areas[0] > areas[2]
    assert max(map(len, pictures(plan))) > 2**20
    assert [source.role for source in read_manifest(plan.folder).sources] == ["portrait", "speech", "pose", "footage"]


def test_faces_of_a_picture_with_thumbnails(real, session_towards, crowd, media):
    session = session_towards(real.address)
    session.find_faces(FacesRequest("f1", crowd))
    found = session.until(FacesFound)
    assert (found.uid, found.width, found.height) == ("f1", 1280, 960)
    larger, smaller = found.faces
    assert larger.centre[0] < 0.5 < smaller.centre[0] and not larger.turned_away
    assert Image.open(BytesIO(larger.thumbnail)).size == (96, 96)
    session.find_faces(FacesRequest("f2", media / "speech.wav"))
    failed = session.until(FacesFailed)
    assert failed.uid == "f2" and failed.message.endswith(".")
