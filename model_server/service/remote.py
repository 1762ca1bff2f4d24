"""A model server on the other end of a connection, for the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from model_server import __version__
from model_server.engines.base import Sizes, Traits
from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.model import Event, Job
from model_server.pipeline.media.checks import check_file
from model_server.pipeline.request import DubRequest, DubSpec
from model_server.service import wire
from model_server.service.address import parse
from model_server.service.auth import HEADER
from model_server.service.errors import error_of, is_absent
from model_server.service.messages import dubbing
from model_server.service.rpc import Stub

GOES_ON = "finished frames are kept there, and the same command goes on from there"
CHUNK_BYTES = 256 * 1024
SECONDS = 30.0
# A command that was told to end waits no longer for the server to hear of it.
LEAVING_SECONDS = 5.0
# Answers for which networks may have to be loaded and media read first; as the add-on waits.
SLOW_SECONDS = 120.0


@dataclass(frozen=True)
class Address:
    """Where a server is and how to be let in.

    Attributes:
        target: as `model_server.service.address.parse` reads it.
        ca: certificate authority in PEM; b"" for the system's own.
        certificate: (certificate, key) in PEM that show who calls; None where the server does not ask for them.
    """

    target: str
    token: str = ""
    ca: bytes = b""
    certificate: tuple[bytes, bytes] | None = None


class RemoteServer:
    """Uploads assets, submits dubs and follows them.

    The same calls as `model_server.jobs.in_process.LocalServer`.
    """

    def __init__(self, address: Address) -> None:
        self._target = address.target
        self._channel = _channel(address)
        self._stub = Stub(self._channel)
        self._metadata = [(HEADER, f"Bearer {address.token}")] if address.token else []
        self._handshake()

    def __enter__(self) -> RemoteServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def add(self, asset: str, path: Path) -> None:
        """Upload a file unless the server holds it; goes on where an earlier upload stopped.

        Raises:
            PoseDubError: it is missing or empty, or the server does not take it.
        """
        check_file(path)
        held = self._call("GetAsset", dubbing.GetAssetRequest(asset_id=asset))
        if not held.complete:
            self._call("UploadAsset", _chunks(asset, path, held.received_bytes), seconds=None)

    def traits(self, weights_id: str) -> Traits:
        """What the engine of these weights wants of a dub."""
        return wire.traits_of(self._handshake(), weights_id)

    def sizes(self, weights_id: str) -> Sizes | None:
        """Pictures that weights on offer, the default for "", draw; None where the server does not tell."""
        return wire.sizes_of(self._handshake(), weights_id)

    def submit(self, request: DubRequest) -> Job:
        """Queue a dub whose assets were added; `validate` it first, as messages do not hold all numbers."""
        answer = self._call("SubmitDub", wire.request_message(request), SLOW_SECONDS)
        return wire.job_of(answer.dub, request)

    def events(self, job: Job, from_index: int = 0) -> Iterator[Event]:
        """The job's events until it ends."""
        call = self._stub.WatchDub(
            dubbing.WatchDubRequest(job_id=job.id, from_index=from_index), metadata=self._metadata
        )
        try:
            yield from wire.events_of(call, job.request)
        except grpc.RpcError as error:
            raise self._lost(error) from error
        finally:
            call.cancel()

    def cancel(self, job: Job) -> None:
        """Stop a job; its frames stay on the server."""
        self._call("CancelDub", dubbing.CancelDubRequest(job_id=job.id))

    def leave(self, job: Job) -> None:
        """Nobody waits any more: stop the job, if the server can still be told."""
        with suppress(PoseDubError):
            self._call("CancelDub", dubbing.CancelDubRequest(job_id=job.id), LEAVING_SECONDS)

    def estimate(self, request: DubRequest) -> Any:
        """Which frames a dub would generate."""
        shaped = wire.request_message(request)
        asked = dubbing.EstimateDubRequest(spec=shaped.spec, frames=shaped.frames)
        return self._call("EstimateDub", asked, SLOW_SECONDS)

    def preview(self, spec: DubSpec, index: int) -> tuple[bytes, bool]:
        """Frame `index` of a dub as PNG, and whether it is approximate."""
        asked = dubbing.PreviewFrameRequest(spec=wire.spec_message(spec), index=index)
        try:
            parts = list(self._stub.PreviewFrame(asked, metadata=self._metadata, timeout=SLOW_SECONDS))
        except grpc.RpcError as error:
            raise error_of(error, self._target) from error
        return b"".join(part.png for part in parts), parts[0].approximate

    def info(self) -> Any:
        """Version, engines, weights, device and limits of the server."""
        return self._call("GetServerInfo", dubbing.GetServerInfoRequest(client_version=__version__))

    def _handshake(self) -> dubbing.GetServerInfoResponse:
        theirs = self.info()
        if theirs.protocol != wire.PROTOCOL:
            older = "server" if theirs.protocol < wire.PROTOCOL else "command"
            raise PoseDubError(
                f"The server speaks protocol {theirs.protocol} and this command {wire.PROTOCOL}; update the {older}.",
                ErrorKind.UNSUPPORTED,
            )
        return theirs

    def _call(self, name: str, request: Any, seconds: float | None = SECONDS) -> Any:
        try:
            return getattr(self._stub, name)(request, metadata=self._metadata, timeout=seconds)
        except grpc.RpcError as error:
            raise error_of(error, self._target) from error

    def _lost(self, error: grpc.RpcError) -> PoseDubError:
        """The same while a dub is followed, when the server was there before."""
        problem = error_of(error, self._target)
        if is_absent(error):
            sentence = f"The PoseDub server at {parse(self._target).target} is gone; start it again: {GOES_ON}."
            return PoseDubError(sentence, problem.kind)
        return problem


def _channel(address: Address) -> grpc.Channel:
    place = parse(address.target)
    # The server was named by the user: the proxies that the environment names for web pages do not lead to it.
    options = [("grpc.enable_http_proxy", 0)]
    if address.ca or address.certificate or place.encrypted or (address.token and not place.loopback):
        certificate, key = address.certificate or (None, None)
        known = grpc.ssl_channel_credentials(address.ca or None, key, certificate)
        return grpc.secure_channel(place.target, known, options)
    return grpc.insecure_channel(place.target, options)


def _chunks(asset: str, path: Path, offset: int) -> Iterator[dubbing.UploadAssetRequest]:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(offset)
        yield dubbing.UploadAssetRequest(asset_id=asset, offset=offset, total_bytes=size, chunk=file.read(CHUNK_BYTES))
        while chunk := file.read(CHUNK_BYTES):
            yield dubbing.UploadAssetRequest(chunk=chunk)
