"""Calls to a model server, each with a deadline, cancellable, and with errors as sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core.address import ServerAddress, parse
from ..core.engines import POSE_SIZE
from ..core.errors import AddonError
from ..core.events import DubEstimated, ServerInfo
from ..core.faces import FacesFound
from ..core.plan import DubPlan, PoseRequest, SpeechPoseRequest
from ..core.version import VERSION
from . import wire
from .cancel import Cancelled, CancelToken
from .grpc_errors import addon_error

PROTOCOL = 1
"""Counts incompatible changes of the contract; both sides must agree."""

CHUNK = 256 * 1024
QUICK = 10.0
"""Deadline of calls that only look something up, seconds."""
SLOW = 120.0
"""Deadline of calls that decode media, seconds."""
UPLOAD_RATE = 50_000
"""Bytes per second that an upload must reach on average."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model server answers.

    Attributes:
        address: as `core.address.parse` reads it.
        token: bearer token, "" for none.
        tls_ca: file with the certificate authority to trust, "" for none; TLS is used when it is set, when the
            address asks for it, when a token goes to another machine, or with `tls_cert`.
        tls_cert, tls_key: files with the certificate that shows who calls, and its key; "" where the server asks for
            none.
    """

    address: str = "127.0.0.1:50761"
    token: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def place(self) -> ServerAddress:
        """The address as it was understood; AddonError when it cannot be."""
        return parse(self.address)

    @property
    def loopback(self) -> bool:
        """Whether the address is this machine, so that no traffic leaves it; AddonError as `place`."""
        return self.place.loopback

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted; AddonError as `place`."""
        return bool(self.tls_ca or self.tls_cert) or self.place.encrypted or bool(self.token) and not self.loopback


class Connection:
    """A channel to one endpoint. Methods block: call them in a background thread.

    All methods raise AddonError with one sentence, and Cancelled once the token is set.

    Args:
        cancel: wakes every blocked call when set.
    """

    def __init__(self, endpoint: Endpoint, cancel: CancelToken | None = None) -> None:
        self.endpoint = endpoint
        self._cancel = cancel or CancelToken()
        if not re.fullmatch(r"[\x20-\x7e]*", endpoint.token):
            raise AddonError("The token holds characters that no token has.", "Correct it in the preferences.")
        self._channel = _channel(endpoint)
        self._calls = dict(_callables(self._channel))
        self._metadata = [("authorization", f"Bearer {endpoint.token}")] if endpoint.token else []

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; calls in progress end."""
        self._channel.close()

    def info(self, timeout: float = QUICK) -> ServerInfo:
        """Handshake. Raises AddonError, saying which side to update, when the protocols differ."""
        info = wire.server_info(self._unary("GetServerInfo", wire.info_request(), timeout))
        if info.protocol != PROTOCOL:
            side = "add-on" if info.protocol > PROTOCOL else "model server"
            raise AddonError(
                f"PoseDub {info.version or '?'} on {self.endpoint.address} does not fit this add-on {VERSION}.",
                f"Update the {side}.",
                "FAILED_PRECONDITION",
            )
        return info

    def upload(
        self, file: Path, sha256: str, progress: Callable[[int, int], object] = lambda done, total: None
    ) -> None:
        """Send what the server lacks of a file.

        Args:
            sha256: of the file's content.
            progress: receives (bytes done, bytes in all).
        """
        total = _size(file)
        held = self._held(sha256)
        while not held.complete:
            before = held
            failure: AddonError | None = None
            try:
                held = self._send(file, sha256, before.received_bytes, total, progress)
            except AddonError as error:
                if error.transient:
                    raise
                # Another upload of the same file may have finished in the middle of this one.
                failure, held = error, self._held(sha256)
            if not held.complete and held.received_bytes <= before.received_bytes:
                raise failure or AddonError(f"The upload of {file} does not get on.", "Try again.", "DATA_LOSS")
        progress(total, total)

    def _held(self, sha256: str) -> Any:
        return self._unary("GetAsset", wire.asset_request(sha256), QUICK)

    def _send(self, file: Path, sha256: str, offset: int, total: int, progress: Callable[[int, int], object]) -> Any:
        failed: list[OSError] = []
        chunks = _chunks(file, offset, lambda done: progress(done, total), failed)
        try:
            requests = wire.upload_requests(sha256, offset, total, chunks)
            return self._unary("UploadAsset", requests, QUICK + (total - offset) / UPLOAD_RATE)
        except AddonError as error:
            if failed:
                raise AddonError(f"{file} cannot be read: {failed[0].strerror}.", "Relink its strip.") from failed[0]
            raise error

    def submit(self, plan: DubPlan, assets: Mapping[str, str]) -> wire.RemoteDub:
        """Queue a dub; `assets` gives the SHA-256 of the file of each role.

        Not woken by the cancel token, or a job could run whose id nobody knows.
        """
        request = wire.submit_request(plan, assets)
        with self._sentences():
            return wire.remote_dub(self._calls["SubmitDub"](request, timeout=SLOW, metadata=self._metadata).dub)

    def watch(self, uid: str, job_id: str, from_index: int) -> Iterator[wire.WatchEvent]:
        """Events of a job, with its frames from `from_index` on, until Done.

        Raises AddonError "UNAVAILABLE" when the stream ends before.
        """
        messages = self._stream("WatchDub", wire.watch_request(job_id, from_index), None)
        events = (wire.watch_event(uid, message) for message in messages)
        for event in wire.joined(event for event in events if event is not None):
            yield event
            if isinstance(event, wire.Done):
                return
        raise AddonError(f"The model server at {self.endpoint.address} went away.", "Try again.", "UNAVAILABLE")

    def cancel(self, job_id: str, timeout: float = QUICK) -> wire.RemoteDub:
        """Stop a job on the server."""
        return wire.remote_dub(self._unary("CancelDub", wire.cancel_request(job_id), timeout).dub)

    def list(self, limit: int = 100, kept: Sequence[str] = ()) -> tuple[wire.RemoteDub, ...]:
        """Jobs of the server, newest first.

        Args:
            kept: jobs that the server is to keep, since their takes are listed here.
        """
        return tuple(map(wire.remote_dub, self._unary("ListDubs", wire.list_request(limit, kept), QUICK).dubs))

    def faces(self, uid: str, asset: str, time: Fraction = Fraction(0)) -> FacesFound:
        """Faces of an uploaded picture, or of a movie at `time` seconds."""
        return wire.faces_found(uid, self._unary("AnalyzeFaces", wire.faces_request(asset, time), SLOW))

    def pose(self, asset: str, request: PoseRequest, size: int = POSE_SIZE) -> Iterator[wire.PoseBlock]:
        """Pose codes, of `size` numbers, of the request's movie, which is uploaded as `asset`, in blocks."""
        messages = self._stream("ExtractPose", wire.pose_request(asset, request), None)
        return (wire.pose_block(message, size) for message in messages)

    def speech_pose(self, asset: str, request: SpeechPoseRequest) -> Iterator[wire.PoseBlock]:
        """Yaw, pitch and roll that go with the request's sound, which is uploaded as `asset`, in blocks."""
        messages = self._stream("PoseFromSpeech", wire.speech_pose_request(asset, request), None)
        return map(wire.speech_pose_block, messages)

    def estimate(self, plan: DubPlan, assets: Mapping[str, str]) -> DubEstimated:
        """Which of the plan's frames would be generated; `assets` as in `submit`, uploaded or not."""
        return wire.estimated(plan.uid, self._unary("EstimateDub", wire.estimate_request(plan, assets), SLOW))

    def preview(self, plan: DubPlan, assets: Mapping[str, str], index: int) -> tuple[bytes, bool]:
        """Frame `index` of the dub, as a PNG file's bytes, and whether it is approximate."""
        parts = list(self._stream("PreviewFrame", wire.preview_request(plan, assets, index), SLOW))
        return b"".join(part.png for part in parts), any(part.approximate for part in parts)

    def _unary(self, method: str, request: Any, timeout: float) -> Any:
        with self._sentences():
            call = self._calls[method].future(request, timeout=timeout, metadata=self._metadata)
            try:
                with self._cancel.waking(call.cancel):
                    return call.result()
            finally:
                call.cancel()

    def _stream(self, method: str, request: Any, timeout: float | None) -> Iterator[Any]:
        with self._sentences():
            call = self._calls[method](request, timeout=timeout, metadata=self._metadata)
            try:
                with self._cancel.waking(call.cancel):
                    yield from call
            finally:
                call.cancel()

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        import grpc

        try:
            yield
        except grpc.FutureCancelledError as error:
            raise Cancelled from error
        except grpc.RpcError as error:
            self._cancel.check()
            raise addon_error(error, self.endpoint.address) from error


def _channel(endpoint: Endpoint) -> Any:
    import grpc

    # A pool of its own, or a new connection inherits the waiting time of a failed one. The server was named by the
    # editor: the proxies that the environment names for web pages do not lead to it.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    if not endpoint.loopback:
        options.append(("grpc.keepalive_time_ms", 30_000))
    if not endpoint.secure:
        return grpc.insecure_channel(endpoint.place.target, options)
    ca, cert, key = (_pem(file) for file in (endpoint.tls_ca, endpoint.tls_cert, endpoint.tls_key))
    if (cert is None) != (key is None):
        raise AddonError("A certificate needs its key.", "Set both files in the preferences.")
    return grpc.secure_channel(endpoint.place.target, grpc.ssl_channel_credentials(ca, key, cert), options)


def _pem(file: str) -> bytes | None:
    if not file:
        return None
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise AddonError(
            f"The certificate file {file} cannot be read: {error.strerror}.", "Correct it in the preferences."
        ) from error


def _callables(channel: Any) -> Iterator[tuple[str, Any]]:
    """(name, callable) of each method, built from the descriptor: generated gRPC code would pin grpcio's version."""
    from google.protobuf.message_factory import GetMessageClass

    service = wire.service()
    for method in service.methods:
        sides = (method.client_streaming, method.server_streaming)
        make = getattr(channel, "_".join("stream" if side else "unary" for side in sides))
        yield (
            method.name,
            make(
                f"/{service.full_name}/{method.name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            ),
        )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise AddonError(f"{file} cannot be read: {error.strerror}.", "Relink its strip.") from error


def _chunks(file: Path, offset: int, progress: Callable[[int], object], failed: list[OSError]) -> Iterator[bytes]:
    """The file from `offset` on. gRPC iterates this in a thread of its own and hides errors: they go to `failed`."""
    try:
        with file.open("rb") as stream:
            stream.seek(offset)
            while chunk := stream.read(CHUNK):
                progress(stream.tell())
                yield chunk
    except OSError as error:
        failed.append(error)
        raise
