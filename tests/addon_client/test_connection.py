"""Single calls against a real gRPC server on loopback."""

import hashlib
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import grpc
import pytest

from blender_addon.client.cancel import Cancelled, CancelToken
from blender_addon.client.connection import CHUNK, Connection, Endpoint
from blender_addon.core.errors import AddonError
from blender_addon.core.faces import FaceChoice
from blender_addon.core.plan import PoseRequest, PoseSource, SpeechPoseRequest
from tests.addon_client.stub_server import StubServer, picture
from tests.certificates import Authority
from tests.limits import HANGS


@pytest.fixture
def connection(server):
    with Connection(Endpoint(server.address)) as made:
        yield made


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_handshake(connection):
    info = connection.info()
    assert (info.version, info.protocol, info.device) == ("9.9", 1, "cpu")
    assert [(w.name, w.kind, w.preset) for w in info.weights] == [("default", "untrained", "lite")]


@pytest.mark.parametrize(("protocol", "side"), [(2, "Update the add-on."), (0, "Update the model server.")])
def test_other_protocol_says_which_side_to_update(server, connection, protocol, side):
    server.protocol = protocol
    with pytest.raises(AddonError) as caught:
        connection.info()
    assert caught.value.hint == side and "9.9" in caught.value.message


def test_nobody_answers():
    with StubServer() as gone:
        pass
    with Connection(Endpoint(gone.address)) as connection, pytest.raises(AddonError) as caught:
        connection.info()
    assert caught.value.transient
    assert "posedub serve" in caught.value.hint and gone.address in caught.value.message


@pytest.mark.parametrize("token", ["", "wrong"])
def test_wrong_token(token):
    with StubServer(token="right") as server, Connection(Endpoint(server.address, token)) as connection:
        with pytest.raises(AddonError, match="refused the token") as caught:
            connection.info()
        assert not caught.value.transient


def test_right_token():
    with StubServer(token="right") as server, Connection(Endpoint(server.address, "right")) as connection:
        assert connection.info().protocol == 1


def test_another_program_at_the_address():
    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    try:
        with (
            Connection(Endpoint(f"127.0.0.1:{port}")) as connection,
            pytest.raises(AddonError, match="no PoseDub server"),
        ):
            connection.info()
    finally:
        other.stop(0)


@pytest.fixture
def certificate(tmp_path):
    """Self-signed certificate of 127.0.0.1: (certificate file, server credentials)."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])


def test_tls_with_the_servers_authority(certificate):
    cert, credentials = certificate
    with (
        StubServer(token="right", credentials=credentials) as server,
        Connection(Endpoint(server.address, "right", str(cert))) as connection,
    ):
        assert connection.info().protocol == 1


def test_tls_with_an_unknown_authority(certificate, tmp_path_factory):
    _cert, credentials = certificate
    other = tmp_path_factory.mktemp("other") / "cert.pem"
    lines = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-keyout", os.devnull]
    subprocess.run([*lines, "-out", str(other)], check=True, capture_output=True)
    with (
        StubServer(credentials=credentials) as server,
        Connection(Endpoint(server.address, tls_ca=str(other))) as connection,
        pytest.raises(AddonError) as caught,
    ):
        connection.info()
    assert "trusted connection" in caught.value.message and not caught.value.transient


def test_tls_towards_a_server_without_it(server, tmp_path):
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    endpoint = Endpoint(server.address, tls_ca=str(tmp_path / "ca.pem"))
    with Connection(endpoint) as connection, pytest.raises(AddonError) as caught:
        connection.info()
    assert "certificate" in caught.value.hint or "posedub serve" in caught.value.hint


def test_mutual_tls(tmp_path):
    ours = Authority(tmp_path)
    (cert, key), own = ours.signed("server"), ours.signed("caller")
    stranger = Authority(tmp_path, "others").signed("stranger")
    pair, ca = (key.read_bytes(), cert.read_bytes()), ours.file.read_bytes()
    with StubServer(credentials=grpc.ssl_server_credentials([pair], ca, require_client_auth=True)) as server:
        with Connection(Endpoint(server.address, "", str(ours.file), *map(str, own))) as connection:
            assert connection.info().protocol == 1
        for files in ((), map(str, stranger)):
            with (
                Connection(Endpoint(server.address, "", str(ours.file), *files)) as connection,
                pytest.raises(AddonError, match="closes the connection") as caught,
            ):
                connection.info()
            assert "certificate" in caught.value.hint
    with pytest.raises(AddonError, match="needs its key"):
        Connection(Endpoint(server.address, tls_ca=str(ours.file), tls_cert=str(cert)))


def test_absent_certificate_file():
    with pytest.raises(AddonError, match="certificate file"):
        Connection(Endpoint(tls_ca="/nowhere/ca.pem"))


@pytest.mark.parametrize(
    ("address", "token", "loopback", "secure"),
    [
        ("127.0.0.1:1", "t", True, False),
        ("localhost:1", "t", True, False),
        ("[::1]:1", "t", True, False),
        ("gpu.studio:1", "", False, False),
        ("gpu.studio:1", "t", False, True),
        ("10.0.0.5:1", "t", False, True),
    ],
)
def test_a_token_leaves_the_machine_encrypted_only(address, token, loopback, secure):
    endpoint = Endpoint(address, token)
    assert (endpoint.loopback, endpoint.secure) == (loopback, secure)


def test_upload_in_chunks_then_nothing(server, connection, plan):
    file, steps = plan.speech.file, []
    connection.upload(file, sha(file), lambda done, total: steps.append((done, total)))
    assert server.assets[sha(file)] == file.read_bytes()
    size = file.stat().st_size
    assert steps[0] == (CHUNK, size) and steps[-1] == (size, size)
    steps.clear()
    connection.upload(file, sha(file), lambda done, total: steps.append((done, total)))
    assert steps == [(size, size)]


def test_upload_goes_on_where_it_broke(server, connection, plan):
    file = plan.speech.file
    server.accept_bytes = 2 * CHUNK
    with pytest.raises(AddonError) as caught:
        connection.upload(file, sha(file))
    assert caught.value.transient
    steps = []
    connection.upload(file, sha(file), lambda done, total: steps.append(done))
    assert steps[0] == 3 * CHUNK
    assert server.assets[sha(file)] == file.read_bytes()


def test_two_uploads_of_one_file_at_once(server, plan):
    """The other upload ends in the middle of this one: its bytes count for both."""
    file, other = plan.speech.file, []

    def interfere(done, total):
        if not other:
            other.append(done)
            with Connection(Endpoint(server.address)) as second:
                second.upload(file, sha(file))

    with Connection(Endpoint(server.address)) as first:
        first.upload(file, sha(file), interfere)
    assert server.assets[sha(file)] == file.read_bytes()


def test_refused_upload_keeps_the_servers_sentence(server, connection, plan):
    server.upload_error = (grpc.StatusCode.RESOURCE_EXHAUSTED, "The server's disk is full; free some space.")
    with pytest.raises(AddonError) as caught:
        connection.upload(plan.speech.file, sha(plan.speech.file))
    assert str(caught.value) == "The server's disk is full; free some space."


def test_upload_of_an_empty_file(server, connection, tmp_path):
    (tmp_path / "empty").touch()
    connection.upload(tmp_path / "empty", sha(tmp_path / "empty"))
    assert server.assets == {sha(tmp_path / "empty"): b""}


def test_upload_of_a_missing_file(connection, tmp_path):
    with pytest.raises(AddonError, match="cannot be read"):
        connection.upload(tmp_path / "none", "00" * 32)


def test_upload_is_cancelled_between_chunks(server, plan):
    cancel = CancelToken()
    with Connection(Endpoint(server.address), cancel) as connection, pytest.raises(Cancelled):
        connection.upload(plan.speech.file, sha(plan.speech.file), lambda done, total: cancel.set())
    assert server.assets == {}


def test_submit_carries_the_whole_plan(server, connection, plan):
    plan = replace(plan, first=10, end=20, mouth_strength=0.5, seed=2**64 - 1, precision="bf16", weights_id="cd" * 32)
    plan = replace(plan, size=320)
    dub = connection.submit(plan, {"portrait": "a" * 64, "speech": "b" * 64, "pose": "c" * 64})
    request = server.jobs[dub.job_id]
    spec = request.spec
    assert (request.frames.first, request.frames.end, spec.frame_count) == (10, 20, 40)
    assert (spec.frame_rate.numerator, spec.frame_rate.denominator) == (24000, 1001)
    assert (spec.portrait.asset_id, spec.speech.asset_id, spec.pose.video.asset_id) == ("a" * 64, "b" * 64, "c" * 64)
    assert (spec.portrait.face.at.x, spec.portrait.face.at.y, spec.portrait.face.crop) == (0.25, 0.5, 1)
    assert spec.portrait.time.denominator == 24
    assert spec.pose.video.face.crop == 2 and not spec.pose.video.face.HasField("at")
    assert (spec.pose.video.start.numerator, spec.pose.video.speed.numerator) == (7, 1001)
    assert (spec.mouth_strength, spec.seed, spec.precision, spec.weights_id) == (0.5, 2**64 - 1, 3, "cd" * 32)
    assert spec.size == 320
    assert (dub.state, dub.first, dub.end, dub.weights.kind) == ("queued", 10, 20, "untrained")


@pytest.mark.parametrize("kind", ["fixed", "frontal", "codes"])
def test_submit_other_poses(server, connection, plan, kind):
    codes = tuple(tuple(float(12 * k + i) for i in range(12)) for k in range(40)) if kind == "codes" else ()
    plan = replace(plan, pose=PoseSource(kind, codes=codes))
    dub = connection.submit(plan, {"portrait": "a" * 64, "speech": "b" * 64})
    pose = server.jobs[dub.job_id].spec.pose
    assert pose.WhichOneof("source") == kind
    assert list(pose.codes.values) == [value for row in codes for value in row]


def test_the_servers_own_sentence_is_kept(server, connection, plan):
    server.submit_error = (grpc.StatusCode.INVALID_ARGUMENT, "The photo shows no face; choose another.")
    with pytest.raises(AddonError) as caught:
        connection.submit(plan, {"portrait": "a" * 64, "speech": "b" * 64, "pose": "c" * 64})
    assert str(caught.value) == "The photo shows no face; choose another."
    assert caught.value.code == "INVALID_ARGUMENT"


def test_jobs_are_listed(connection, plan):
    assets = {"portrait": "a" * 64, "speech": "b" * 64, "pose": "c" * 64}
    ids = {connection.submit(replace(plan, seed=seed), assets).job_id for seed in range(3)}
    assert {dub.job_id for dub in connection.list()} == ids
    assert len(connection.list(limit=2)) == 2


def test_faces(connection, plan):
    with pytest.raises(AddonError, match="was not uploaded"):
        connection.faces("q", sha(plan.portrait.file))
    connection.upload(plan.portrait.file, sha(plan.portrait.file))
    found = connection.faces("q", sha(plan.portrait.file), Fraction(1, 2))
    assert (found.width, found.height, found.faces[0].centre) == (640, 480, (0.375, 0.3125))
    assert found.faces[0].left_eye == (0.25, 0.25)


def test_pose_blocks(connection):
    times = tuple(Fraction(k, 2) for k in range(3))
    blocks = list(connection.pose("a" * 64, PoseRequest("p", Path("a.mp4"), FaceChoice(), times)))
    assert [(block.first, len(block.rows), block.held) for block in blocks] == [(0, 2, ((0, 1),)), (2, 1, ((2, 3),))]
    assert blocks[1].rows[0] == (1.0,) * 12
    assert [block.lids for block in blocks] == [(0.0, 0.5), (0.5,)]


def test_blocks_of_a_pose_from_speech(connection, server, tmp_path):
    request = SpeechPoseRequest("p", tmp_path / "a.wav", Fraction(25), 3, seed=7)
    server.assets["a" * 64] = b""
    blocks = list(connection.speech_pose("a" * 64, request))
    assert [(block.first, block.rows) for block in blocks] == [
        (0, ((0.0, 7.0, 0.0), (1.0, 7.0, 0.0))), (2, ((2.0, 7.0, 0.0),))
    ]  # fmt: skip


def test_a_preview_comes_in_parts(connection, plan):
    assets = {"portrait": "a" * 64, "speech": "b" * 64, "pose": "c" * 64}
    assert connection.preview(plan, assets, 7) == (picture(7), True)


def test_a_stalled_stream_is_woken_by_cancelling(server, plan):
    server.hold_at = 3
    cancel = CancelToken()
    with Connection(Endpoint(server.address), cancel) as connection:
        dub = connection.submit(plan, {"portrait": "a" * 64, "speech": "b" * 64, "pose": "c" * 64})
        threading.Thread(target=lambda: server.holding.wait(HANGS) and cancel.set()).start()
        with pytest.raises(Cancelled):
            list(connection.watch("u1", dub.job_id, 0))
