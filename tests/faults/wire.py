"""Nonsense on the wire, uploads that never end, names that mean harm, and everybody who tries to come in."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import grpc

from blender_addon.client.connection import Connection, Endpoint
from blender_addon.core.errors import AddonError
from model_server.errors import PoseDubError
from model_server.service import rpc
from model_server.service.remote import Address, RemoteServer
from model_server.service.servicer import MAX_ASSET_BYTES
from model_server.service.stubs import dubbing_pb2 as dubbing
from tests.certificates import Authority
from tests.cli.commands import ended
from tests.faults.lab import Lab, case, one_sentence, same
from tests.limits import HANGS

CORPUS = Path(__file__).with_name("corpus")
METHODS = dubbing.DESCRIPTOR.services_by_name["DubbingService"].methods_by_name
PREFIX = "/posedub.v1.DubbingService/"
ANSWER_SECONDS = 60.0


@case(2000)
def wire_fuzz(lab: Lab, count: int) -> str:
    """So many mutated messages over all methods, a kept corpus, and bytes that are no HTTP/2: the server serves on."""
    server, request = lab.server().start(), lab.request(lab.seed())
    codes: dict[str, int] = {}
    before = _memory(server.process.pid)
    with grpc.insecure_channel(server.address) as channel:
        for _ in range(count):
            name = lab.random.choice(sorted(METHODS))
            code = _send(channel, name, _mutated(lab, name))
            codes[code] = codes.get(code, 0) + 1
        for path in sorted(CORPUS.glob("*.bin")):
            for name in METHODS:
                _send(channel, name, path.read_bytes())
    for _ in range(max(1, count // 20)):
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(lab.random.choice([b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]) + lab.random.randbytes(200))
    assert "Traceback" not in server.log.read_text(), server.log.read_text()[-2000:]
    same(lab.frames(server, request), lab.expected(request))
    grown = _memory(server.process.pid) - before
    server.stop()
    assert "INTERNAL" not in codes and "UNKNOWN" not in codes, codes
    return f"{', '.join(f'{code} {many}' for code, many in sorted(codes.items()))}; memory +{grown:.0f} MB"


def _memory(pid: int) -> float:
    import psutil

    return psutil.Process(pid).memory_info().rss / 1e6


def _send(channel: grpc.Channel, name: str, message: bytes) -> str:
    """The answer's code; "parsing" where gRPC itself could not read the message."""
    method = METHODS[name]
    kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
    call = getattr(channel, kind)(PREFIX + name)
    given = iter([message]) if method.client_streaming else message
    try:
        answer = call(given, timeout=ANSWER_SECONDS)
        if method.server_streaming:
            for _ in zip(range(3), answer, strict=False):
                pass
            answer.cancel()
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNKNOWN and "deserializ" in error.details():
            return "parsing"
        one_sentence(error.details())
        return error.code().name
    return "OK"


def _mutated(lab: Lab, name: str) -> bytes:
    """A sensible message with some bytes changed, cut out or put in; or one whose fields hold extremes."""
    message = METHODS[name].input_type._concrete_class()
    _filled(lab, message)
    data = bytearray(message.SerializeToString())
    for _ in range(lab.random.choice([0, 0, 1, 1, 3])):
        at = lab.random.randrange(len(data) + 1)
        how = lab.random.randrange(3)
        if how == 0 and data:
            data[at % len(data)] = lab.random.randrange(256)
        elif how == 1:
            data[at:at] = lab.random.randbytes(lab.random.randrange(1, 9))
        else:
            del data[at : at + lab.random.randrange(1, 9)]
    return bytes(data)


_NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 7, 24, 1001)
_REALS = (0.0, 1.0, -1.0, float("nan"), float("inf"), 1e308, 5e-324, 0.5)
_TEXTS = ("", "a" * 64, "0" * 64, "../../etc/passwd", "/etc/passwd", "\0", "CON", "x" * 300, "ä" * 70, "pcavs", "toy")


def _filled(lab: Lab, message, depth: int = 0) -> None:  # noqa: ANN001
    for field in message.DESCRIPTOR.fields:
        if lab.random.random() < 0.3 or depth > 5:
            continue
        many = lab.random.randrange(3) if _repeated(field) else 1
        for _ in range(many):
            if field.message_type is not None:
                if field.message_type.GetOptions().map_entry:
                    continue
                part = getattr(message, field.name)
                inner = part.add() if _repeated(field) else part
                inner.SetInParent()
                _filled(lab, inner, depth + 1)
                continue
            value = _value(lab, field)
            if _repeated(field):
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)


def _repeated(field) -> bool:  # noqa: ANN001
    return field.label == field.LABEL_REPEATED


def _value(lab: Lab, field) -> object:  # noqa: ANN001
    kind = field.cpp_type
    if kind in (field.CPPTYPE_INT32, field.CPPTYPE_ENUM):
        return lab.random.choice([one for one in _NUMBERS if -(2**31) <= one < 2**31])
    if kind == field.CPPTYPE_INT64:
        return lab.random.choice(_NUMBERS)
    if kind in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64):
        most = 2**32 if kind == field.CPPTYPE_UINT32 else 2**64
        return lab.random.choice([one % most for one in _NUMBERS])
    if kind in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
        return lab.random.choice(_REALS[:5] if kind == field.CPPTYPE_FLOAT else _REALS)
    if kind == field.CPPTYPE_BOOL:
        return lab.random.random() < 0.5
    return lab.random.choice(_TEXTS) if field.type == field.TYPE_STRING else lab.random.randbytes(9)


@case()
def endless_uploads(lab: Lab, count: int) -> str:
    """Uploads that are too large, longer than announced, of another content, or that drip: a sentence, nothing kept."""
    server, said = lab.server().start(), {}
    with grpc.insecure_channel(server.address) as channel:
        stub = rpc.Stub(channel)
        for name, messages in _uploads().items():
            begun = time.monotonic()
            try:
                stub.UploadAsset(messages, timeout=HANGS)
                raise AssertionError(f"{name} was taken")
            except grpc.RpcError as error:
                said[name] = (error.code().name, time.monotonic() - begun)
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    one_sentence(error.details())
    held = sum(path.stat().st_size for path in (server.data / "blobs").rglob("*") if path.is_file())
    server.stop()
    assert 55 < said["drip"][1] < 90, said
    assert held < 3 * 2**20, held
    told = ", ".join(f"{name} {code} after {seconds:.0f} s" for name, (code, seconds) in said.items())
    return f"{told}; {held / 2**20:.1f} MiB of unfinished uploads kept to go on from"


def _uploads() -> dict[str, Iterator[dubbing.UploadAssetRequest]]:
    piece, sha = bytes(256 * 1024), hashlib.sha256

    def of(name: str, total: int, chunks: Iterator[bytes]) -> Iterator[dubbing.UploadAssetRequest]:
        asset = sha(name.encode()).hexdigest()
        yield dubbing.UploadAssetRequest(asset_id=asset, total_bytes=total, chunk=next(chunks))
        yield from (dubbing.UploadAssetRequest(chunk=chunk) for chunk in chunks)

    def drip() -> Iterator[bytes]:
        while True:
            yield b"x"
            time.sleep(1)

    return {
        "oversize": of("oversize", MAX_ASSET_BYTES + 1, iter([piece])),
        "endless": of("endless", 2**20, iter(lambda: piece, None)),
        "another content": of("content", 3, iter([b"abc"])),
        "chunk of 5 MiB": of("chunk", 2**30, iter([bytes(5 * 2**20)])),
        "drip": of("drip", 2**20, drip()),
    }


@case()
def hostile_names(lab: Lab, count: int) -> str:
    """Names that lead elsewhere, hold control characters, are devices or too long: a sentence or a dub, no harm."""
    server, tried = lab.server().start(), 0
    names = ("../up", "/etc/passwd", "..\\up", "a\0b", "CON", "x" * 300, "", ".", "~", "A" * 64, "é" * 64)
    with grpc.insecure_channel(server.address) as channel:
        stub = rpc.Stub(channel)
        for name in names:
            for call in (
                lambda: stub.GetAsset(dubbing.GetAssetRequest(asset_id=name)),  # noqa: B023
                lambda: stub.UploadAsset(
                    iter([dubbing.UploadAssetRequest(asset_id=name, total_bytes=1, chunk=b"x")])  # noqa: B023
                ),
            ):
                try:
                    call()
                    raise AssertionError(f"{name!r} was taken")
                except grpc.RpcError as error:
                    assert "SHA-256" in one_sentence(error.details())
                    tried += 1
    server.stop()
    strange = [b"line\nbreak.wav", b"\x1b[31mred.wav", b"\xff\xfe.wav", b"-option.wav", b" .wav", "ü" * 100 + ".wav"]
    for number, name in enumerate(strange):
        file = os.path.join(os.fsencode(lab.folder), name if isinstance(name, bytes) else name.encode())
        with open(file, "wb") as copy:
            copy.write(lab.speech.read_bytes())
        words = ["dub", "--audio", os.fsdecode(file), "--weights", lab.weights, "--size", 64, "--range", "0:2"]
        done = ended([*words, "--data", lab.folder / "own", "--out", lab.folder / f"out{number}"], lab.environment)
        assert done.returncode == 0, (name, done.stderr)
        assert "\x1b[31m" not in done.stdout + done.stderr
        tried += 1
    return f"{tried} names: refused by the server as no hash, or dubbed by the command"


@case()
def auth_matrix(lab: Lab, count: int) -> str:
    """No, a wrong, the right token × plain, TLS, mutual TLS × loopback, another address: only who should comes in."""
    keys, address = _Keys(lab), _own_address()
    combinations = product(filter(None, (LOOPBACK, address)), ("plain", "TLS", "mutual TLS"), (False, True))
    rows = [came_in for host, kind, secret in combinations for came_in in _server_rows(lab, keys, host, kind, secret)]
    there = "" if address else "; one address only"
    return f"{len(rows)} combinations, {sum(rows)} of them let in, as they should{there}"


LOOPBACK = "127.0.0.1"
TOKENS = ("", "wrong", "secret")
CALLERS = ("plain", "TLS", "TLS with a certificate of another authority", "mutual TLS")


class _Keys:
    """A token, an authority's certificates for server and caller, and a caller's of another authority."""

    def __init__(self, lab: Lab) -> None:
        ours, others = Authority(lab.folder), Authority(lab.folder, "others")
        self.token = lab.folder / "token"
        self.token.write_text("secret")
        self.authority = ours.file
        self.server = ours.signed("server", filter(None, (LOOPBACK, _own_address())))
        self.caller, self.stranger = ours.signed("caller"), others.signed("stranger")

    def options(self, kind: str, secret: bool) -> tuple[str, ...]:
        """Of a server."""
        cert, key = map(str, self.server)
        return (
            *(("--token-file", str(self.token)) if secret else ()),
            *(("--tls-cert", cert, "--tls-key", key) if kind != "plain" else ()),
            *(("--tls-client-ca", str(self.authority)) if kind == "mutual TLS" else ()),
        )

    def channel(self, caller: str) -> grpc.ChannelCredentials | None:
        """How somebody calls."""
        files = {CALLERS[2]: self.stranger, CALLERS[3]: self.caller}.get(caller)
        cert, key = (file.read_bytes() for file in files) if files else (None, None)
        return None if caller == "plain" else grpc.ssl_channel_credentials(self.authority.read_bytes(), key, cert)


def _server_rows(lab: Lab, keys: _Keys, host: str, kind: str, secret: bool) -> Iterator[bool]:
    """Whether each caller comes in at such a server, which must be as it should."""
    server = lab.server(options=keys.options(kind, secret))
    server.options[-1] = host
    server.address = f"{host}:{server.port}"
    if host != LOOPBACK and (kind == "plain" or (kind == "TLS" and not secret)):
        yield _refused(server)
        return
    server.start()
    for token, caller in product(TOKENS, CALLERS):
        came_in = _comes_in(server.address, token, keys.channel(caller))
        encrypted = (caller == "plain") == (kind == "plain")
        known = kind != "mutual TLS" or caller == "mutual TLS"
        should = (token == "secret" or not secret) and encrypted and known
        assert came_in == should, (host, kind, secret, token, caller)
        yield came_in
    if kind == "mutual TLS":
        _own_clients(server.address, keys)
    server.stop()


def _own_clients(address: str, keys: _Keys) -> None:
    """The command's client and the add-on's come in with their certificate; without it they say one sentence."""
    ca, (cert, key) = keys.authority, keys.caller
    pair = cert.read_bytes(), key.read_bytes()
    with RemoteServer(Address(address, "secret", ca.read_bytes(), pair)) as remote:
        assert remote.info().protocol
    with Connection(Endpoint(address, "secret", str(ca), str(cert), str(key))) as connection:
        assert connection.info().protocol
    try:
        RemoteServer(Address(address, "secret", ca.read_bytes()))
        raise AssertionError("let in without a certificate")
    except PoseDubError as error:
        assert "--tls-cert" in one_sentence(error.message)
    with Connection(Endpoint(address, "secret", str(ca))) as connection:
        try:
            connection.info()
            raise AssertionError("let in without a certificate")
        except AddonError as error:
            assert "certificate" in error.hint


def _refused(server) -> bool:  # noqa: ANN001
    command = [sys.executable, "-m", "model_server", "serve", "--port", str(server.port), "--data", str(server.data)]
    done = subprocess.run(
        [*command, *server.options], capture_output=True, text=True, timeout=HANGS, env=server.environment
    )
    assert done.returncode == 1, done.stderr
    one_sentence(done.stderr.strip().splitlines()[-1])
    return False


def _comes_in(target: str, token: str, credentials: grpc.ChannelCredentials | None) -> bool:
    options = [("grpc.enable_http_proxy", 0)]
    channel = (
        grpc.secure_channel(target, credentials, options) if credentials else grpc.insecure_channel(target, options)
    )
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with channel:
        try:
            rpc.Stub(channel).GetServerInfo(dubbing.GetServerInfoRequest(), metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE), error
            return False
    return True


def _own_address() -> str:
    """An address of this computer that is not the loopback, "" where it has none."""
    import psutil

    found = [one.address for many in psutil.net_if_addrs().values() for one in many if one.family == socket.AF_INET]
    return next((one for one in found if not one.startswith("127.")), "")


@case()
def stranger_on_the_port(lab: Lab, count: int) -> str:
    """Something else answers on the port, or a server of another user with a token: a sentence on either side."""
    sentences = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = lab.server()
        server.port = port
        _refused(server)
    token = lab.folder / "token"
    token.write_text("theirs")
    theirs = lab.server(options=("--token-file", str(token)))
    theirs.start()
    ours = lab.server()
    ours.port = theirs.port
    _refused(ours)
    try:
        RemoteServer(Address(theirs.address))
    except PoseDubError as error:
        sentences.append(one_sentence(error.message))
    theirs.stop()
    assert sentences
    return f"“{sentences[0]}”"
