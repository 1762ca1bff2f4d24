"""The server as a process on the loopback, spoken to over gRPC."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from model_server.cli.serve import NICENESS
from model_server.engines.pcavs.weights import untrained
from model_server.engines.weights import default_weights
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.threads import SIDE_BY_SIDE
from model_server.jobs.in_process import LocalServer
from model_server.jobs.model import Accepted, Ended, FrameMade, Job, JobState, Progress
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FaceSelection,
    Portrait,
    PoseCodes,
    PoseFixed,
    PoseFrontal,
    PoseVideo,
    Speech,
)
from model_server.service import rpc, wire
from model_server.service.remote import Address, RemoteServer
from model_server.service.stubs import dubbing_pb2 as dubbing
from tests.gate import Gate
from tests.limits import HANGS
from tests.servers import ServerProcess, wait_until_stopping

ALIGNED = FaceSelection("aligned")
INPUTS = Path(__file__).parents[1] / "demo" / "inputs"


@pytest.fixture
def stub(server: ServerProcess) -> Iterator[rpc.Stub]:
    with grpc.insecure_channel(server.address) as channel:
        yield rpc.Stub(channel)


def make_request(media: Path, seconds: float = 1.0, fps: Fraction = Fraction(24), **changes: object) -> DubRequest:
    spec = {
        "portrait": Portrait(file_digest(media / "portrait.png"), ALIGNED),
        "speech": Speech(file_digest(media / "speech.wav")),
        "pose": PoseVideo(file_digest(media / "pose.mp4"), ALIGNED, start=1 / (2 * fps)),
        "fps": fps,
        "frame_count": int(seconds * fps),
    }
    return DubRequest(DubSpec(**{**spec, **changes}))


def submit(server: RemoteServer | LocalServer, media: Path, request: DubRequest) -> Job:
    for name in ("portrait.png", "speech.wav", "pose.mp4"):
        server.add(file_digest(media / name), media / name)
    return server.submit(request)


def frames_of(server: RemoteServer | LocalServer, job: Job, from_index: int = 0) -> dict[int, bytes]:
    events = list(server.events(job, from_index))
    assert isinstance(events[0], Accepted) and isinstance(events[-1], Ended)
    assert events[-1].job.state is JobState.DONE, events[-1].job.error
    return {event.index: event.png for event in events if isinstance(event, FrameMade)}


def lite_pool() -> EnginePool:
    return EnginePool([default_weights()], "cpu")


def test_health_and_handshake(server: ServerProcess, stub: rpc.Stub) -> None:
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "posedub.v1.DubbingService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    info = stub.GetServerInfo(dubbing.GetServerInfoRequest())
    assert info.protocol == 1 and info.version and info.device
    kinds = {"untrained": dubbing.WEIGHTS_KIND_UNTRAINED, "trained": dubbing.WEIGHTS_KIND_TRAINED}
    assert [one.kind for one in info.engines[0].weights] == [kinds[default_weights().kind]]


def test_untrained_weights_are_offered_and_used_as_such(media: Path, untrained_weights: Path, tmp_path: Path) -> None:
    options = ["--weights", str(untrained_weights)]
    with ServerProcess(tmp_path / "data", options) as server, RemoteServer(Address(server.address)) as remote:
        job = submit(remote, media, make_request(media, frame_count=2))
        assert len(frames_of(remote, job)) == 2
        with grpc.insecure_channel(server.address) as channel:
            info = rpc.Stub(channel).GetServerInfo(dubbing.GetServerInfoRequest())
    assert [one.kind for one in info.engines[0].weights] == [dubbing.WEIGHTS_KIND_UNTRAINED]
    assert job.weights[2] == "untrained"


def test_a_remote_dub_equals_one_in_this_process(remote: RemoteServer, media: Path, tmp_path: Path) -> None:
    request = make_request(media, fps=Fraction(24000, 1001))
    far = frames_of(remote, submit(remote, media, request))
    with LocalServer(tmp_path, lite_pool()) as local:
        near = frames_of(local, submit(local, media, request))
    assert list(far) == list(range(request.spec.frame_count))
    assert far == near


@pytest.mark.parametrize("kind", ["fixed", "frontal", "codes"])
def test_every_pose_source_makes_every_frame(remote: RemoteServer, media: Path, kind: str) -> None:
    count = 6
    pose = {"fixed": PoseFixed(), "frontal": PoseFrontal(), "codes": PoseCodes(((0.25,) * 12,) * count)}[kind]
    request = make_request(media, pose=pose, frame_count=count)
    assert list(frames_of(remote, submit(remote, media, request))) == list(range(count))


def test_frames_have_the_asked_size(remote: RemoteServer, media: Path) -> None:
    sizes = {}
    for size in (224, 320):
        request = make_request(media, pose=PoseFixed(), frame_count=2, size=size)
        sizes[size] = {decode_png(png).shape for png in frames_of(remote, submit(remote, media, request)).values()}
    assert sizes == {224: {(224, 224, 3)}, 320: {(320, 320, 3)}}


def test_a_request_without_a_size_means_224(media: Path) -> None:
    message = wire.request_message(make_request(media))
    message.spec.ClearField("size")
    assert wire.request_of(message).spec.size == 224


def test_full_weights_draw_at_224_only(media: Path, tmp_path: Path) -> None:
    with LocalServer(tmp_path, EnginePool([untrained("full")], "cpu")) as local:
        with pytest.raises(PoseDubError, match="untrained full draw 224x224 pictures only; set the picture size"):
            submit(local, media, make_request(media, size=320))
        assert submit(local, media, make_request(media)).weights[3] == "full"


def test_zero_codes_are_the_frontal_pose(remote: RemoteServer, media: Path) -> None:
    zeros = make_request(media, pose=PoseCodes(((0.0,) * 12,) * 5), frame_count=5)
    frontal = make_request(media, pose=PoseFrontal(), frame_count=5)
    assert frames_of(remote, submit(remote, media, zeros)) == frames_of(remote, submit(remote, media, frontal))


def test_codes_read_from_the_movie_give_the_movies_frames(remote: RemoteServer, stub: rpc.Stub, media: Path) -> None:
    request = make_request(media)
    from_movie = frames_of(remote, submit(remote, media, request))
    pose, spec = request.spec.pose, request.spec
    times = [pose.start + k / spec.fps for k in range(spec.frame_count)]
    asked = dubbing.ExtractPoseRequest(asset_id=pose.asset, face={"crop": 2})
    for time in times:
        asked.times.add(numerator=time.numerator, denominator=time.denominator)
    parts = list(stub.ExtractPose(asked))
    values = [value for part in parts for value in part.values]
    rows = tuple(tuple(values[k : k + 12]) for k in range(0, len(values), 12))
    lids = tuple(closure for part in parts for closure in part.lids)
    assert len(lids) == len(rows)
    baked = make_request(media, pose=PoseCodes(rows), blink=lids, blinking="off")
    assert frames_of(remote, submit(remote, media, baked)) == from_movie


def test_faces_of_a_picture_are_found_where_they_are(remote: RemoteServer, stub: rpc.Stub) -> None:
    path = INPUTS / "portrait.png"
    remote.add(file_digest(path), path)
    found = stub.AnalyzeFaces(dubbing.AnalyzeFacesRequest(asset_id=file_digest(path)))
    assert (found.width, found.height) == (512, 512) and len(found.faces) == 1
    face = found.faces[0]
    assert face.left < face.left_eye.x < face.mouth.x < face.right_eye.x < face.right
    assert face.top < face.left_eye.y < face.mouth.y < face.bottom


def test_a_free_portrait_and_free_footage_are_dubbed(remote: RemoteServer, media: Path) -> None:
    portrait, pose = INPUTS / "portrait.png", INPUTS / "pose.mp4"
    for path in (portrait, pose):
        remote.add(file_digest(path), path)
    sources = {"portrait": Portrait(file_digest(portrait)), "pose": PoseVideo(file_digest(pose))}
    request = make_request(media, frame_count=4, **sources)
    assert len(set(frames_of(remote, submit(remote, media, request)).values())) == 4


def test_a_sub_range_gives_the_same_frames_as_the_whole(remote: RemoteServer, media: Path, tmp_path: Path) -> None:
    whole = make_request(media)
    part = DubRequest(whole.spec, 7, 12)
    with LocalServer(tmp_path, lite_pool()) as fresh:
        made = frames_of(fresh, submit(fresh, media, part), 7)
    full = frames_of(remote, submit(remote, media, whole))
    assert made == {index: full[index] for index in range(7, 12)}, "files too: their marks name the dub"


def test_a_repeated_request_is_answered_from_the_store(remote: RemoteServer, media: Path) -> None:
    request = make_request(media)
    first, again = submit(remote, media, request), submit(remote, media, request)
    assert first.id == again.id
    events = list(remote.events(again))
    assert not [event for event in events if isinstance(event, Progress) and event.phase == "queued"]
    assert frames_of(remote, first) == frames_of(remote, again)


def test_watching_from_an_index_gives_the_rest(remote: RemoteServer, media: Path) -> None:
    job = submit(remote, media, make_request(media))
    everything = frames_of(remote, job)
    assert frames_of(remote, job, 20) == {index: everything[index] for index in range(20, 24)}


def test_cancel_stops_and_keeps_frames_and_the_dub_goes_on_when_asked_again(
    remote: RemoteServer, gate: Gate, media: Path
) -> None:
    request = make_request(media, seconds=2, pose=PoseFixed(), seed=77)
    made = []
    with gate.closed(after=4):
        job = submit(remote, media, request)
        for event in remote.events(job):
            if isinstance(event, FrameMade):
                made.append(event)
                if len(made) == 3:
                    remote.cancel(job)
            if isinstance(event, Ended):
                assert event.job.state is JobState.CANCELLED
    assert 3 <= len(made) < request.spec.frame_count
    short = DubRequest(request.spec, 0, 6)
    again = frames_of(remote, submit(remote, media, short))
    assert [again[index] for index in range(3)] == [event.png for event in made[:3]]


def test_jobs_are_listed_newest_first(remote: RemoteServer, stub: rpc.Stub, media: Path) -> None:
    job = submit(remote, media, make_request(media, seed=501, frame_count=2))
    frames_of(remote, job)
    listed = stub.ListDubs(dubbing.ListDubsRequest(limit=3)).dubs
    assert listed[0].job_id == job.id and listed[0].state == dubbing.DUB_STATE_DONE
    assert listed[0].committed_frames == 2 and len(listed) <= 3


def test_uploads_resume_where_they_stopped(stub: rpc.Stub) -> None:
    content = bytes(range(256)) * 64
    sha = hashlib.sha256(content).hexdigest()

    def part(offset: int, end: int) -> Iterator[dubbing.UploadAssetRequest]:
        yield dubbing.UploadAssetRequest(
            asset_id=sha, offset=offset, total_bytes=len(content), chunk=content[offset:end]
        )

    half = stub.UploadAsset(part(0, 5000))
    assert (half.complete, half.received_bytes) == (False, 5000)
    assert stub.GetAsset(dubbing.GetAssetRequest(asset_id=sha)).received_bytes == 5000
    assert stub.UploadAsset(part(5000, len(content))).complete
    assert stub.GetAsset(dubbing.GetAssetRequest(asset_id=sha)).complete


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"weights": "0" * 64}, "weights"),
        ({"portrait": Portrait("0" * 64, ALIGNED)}, "upload"),
        ({"portrait": Portrait("../../etc/passwd", ALIGNED)}, "SHA-256"),
        ({"frame_count": 0}, "no frames"),
        ({"mouth_strength": 9.0}, "mouth strength"),
        ({"size": 600}, "picture size"),
        ({"pose": PoseCodes(((0.0,) * 12,))}, "pose codes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_requests_get_one_sentence(remote: RemoteServer, media: Path, change: dict, word: str) -> None:
    with pytest.raises(PoseDubError, match=word) as caught:
        submit(remote, media, make_request(media, **change))
    assert "\n" not in caught.value.message


def test_unknown_jobs_are_not_found(stub: rpc.Stub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.WatchDub(dubbing.WatchDubRequest(job_id="nothing")))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_garbage_on_the_wire_leaves_the_server_serving(server: ServerProcess, stub: rpc.Stub) -> None:
    with grpc.insecure_channel(server.address) as channel:
        raw = channel.unary_unary("/posedub.v1.DubbingService/SubmitDub")
        for garbage in (b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x7f", b""):
            with pytest.raises(grpc.RpcError) as caught:
                raw(garbage)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert caught.value.details().endswith(".") and "<class" not in caught.value.details()
        upload = channel.stream_unary("/posedub.v1.DubbingService/UploadAsset")
        with pytest.raises(grpc.RpcError, match="The message cannot be read"):
            upload(iter([b"\xff" * 50]))
    assert stub.GetServerInfo(dubbing.GetServerInfoRequest()).protocol == 1


def test_a_slow_reader_holds_nobody_up(remote: RemoteServer, media: Path) -> None:
    slow = remote.events(submit(remote, media, make_request(media, seed=900)))
    assert isinstance(next(slow), Accepted)  # and then never read on
    quick = frames_of(remote, submit(remote, media, make_request(media, seed=901)))
    assert len(quick) == 24
    assert len([event for event in slow if isinstance(event, FrameMade)]) == 24


def test_a_short_dub_does_not_wait_for_a_long_one(
    remote: RemoteServer, stub: rpc.Stub, gate: Gate, media: Path
) -> None:
    with gate.closed(after=5):
        long = submit(remote, media, make_request(media, seconds=2, pose=PoseFixed(), seed=70))
        with closing(remote.events(long)) as events:
            assert next(event.index for event in events if isinstance(event, FrameMade)) == 0
        short = submit(remote, media, make_request(media, frame_count=5, pose=PoseFixed(), seed=71))
        assert sorted(frames_of(remote, short)) == list(range(5))
        states = {dub.job_id: dub.state for dub in stub.ListDubs(dubbing.ListDubsRequest(limit=3)).dubs}
        remote.cancel(long)
    assert states[long.id] == dubbing.DUB_STATE_RUNNING


def test_more_dubs_than_run_at_once_all_end(remote: RemoteServer, media: Path) -> None:
    requests = [make_request(media, frame_count=6, pose=PoseFixed(), seed=80 + n) for n in range(SIDE_BY_SIDE + 2)]
    jobs = [submit(remote, media, request) for request in requests]
    assert all(sorted(frames_of(remote, job)) == list(range(6)) for job in jobs)


@pytest.mark.slow
def test_kill_in_mid_job_and_restart_gives_the_uninterrupted_frames(
    remote: RemoteServer, gate: Gate, media: Path, tmp_path: Path
) -> None:
    request = make_request(media, seconds=2)
    expected = frames_of(remote, submit(remote, media, request))
    process = ServerProcess(tmp_path / "killed", gate=gate).start()
    got: dict[int, bytes] = {}
    with gate.closed(after=21), RemoteServer(Address(process.address)) as remote:
        job = submit(remote, media, request)
        with pytest.raises(PoseDubError) as caught:
            for event in remote.events(job):
                if isinstance(event, FrameMade):
                    got[event.index] = event.png
                    if event.index == 20:
                        process.kill()
        assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert 20 < len(got) < len(expected)
    with process, RemoteServer(Address(process.address)) as remote:
        got |= frames_of(remote, job, len(got))
    assert got == expected


@pytest.mark.slow
def test_sigterm_puts_the_running_job_back_and_the_next_server_ends_it(gate: Gate, media: Path, tmp_path: Path) -> None:
    request = make_request(media, seconds=4, pose=PoseFixed())
    process = ServerProcess(tmp_path / "data", gate=gate).start()
    with RemoteServer(Address(process.address)) as remote:
        with gate.closed():
            job = submit(remote, media, request)
            watching = remote.events(job)
            next(event for event in watching if isinstance(event, FrameMade))
            process.process.terminate()
            wait_until_stopping(process.address)
            with pytest.raises(PoseDubError, match="being stopped; finished frames are kept"):
                list(watching)
        assert process.process.wait(HANGS) == 0
    log = process.log.read_text()
    assert "put back into the queue" in log and "Traceback" not in log
    with process, RemoteServer(Address(process.address)) as remote:
        assert len(frames_of(remote, job)) == request.spec.frame_count


def test_the_server_leaves_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    server = ServerProcess(tmp_path / "data", ["--exit-with", str(parent.pid)]).start()
    parent.stdin.close()  # it ends, and nobody asks how: until then its number stays
    assert server.process.wait(HANGS) == 0
    parent.wait()


def test_a_second_server_on_the_port_says_so(server: ServerProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "model_server", "serve", "--port", str(server.port), "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 1
    assert f"Port {server.port}" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_server_lets_other_programs_go_first(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "server") as server:
        assert psutil.Process(server.process.pid).nice() >= max(NICENESS, psutil.Process().nice())
