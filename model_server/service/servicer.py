"""The service's methods: convert, delegate, convert."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import grpc

from model_server import __version__
from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.blobs import Blobs
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.runner import Runner
from model_server.jobs.execution.tally import Tally
from model_server.jobs.queries import Queries
from model_server.jobs.retention import KEPT_SECONDS
from model_server.jobs.store import Store
from model_server.jobs.watch import POLL_SECONDS, Watch
from model_server.pipeline.request import MAX_FRAMES, DubRequest
from model_server.service import wire
from model_server.service.errors import status_of
from model_server.service.messages import dubbing, media
from model_server.service.rpc import Unreadable
from model_server.surroundings import explained

MAX_ASSET_BYTES = 64 * 2**30
MAX_CHUNK_BYTES = 2**20
# Whoever sends fewer bytes in this time holds a place for nothing: 1 KiB/s is slower than any line in use.
UPLOAD_IDLE_SECONDS, UPLOAD_STEP_BYTES = 60.0, 64 * 1024
POSE_ROWS_AT_ONCE = 4096
STOPS = "The PoseDub server is being stopped; finished frames are kept, and the same dub goes on from there later."
log = logging.getLogger(__name__)
T = TypeVar("T")


def _guarded(method: Callable) -> Callable:
    """A unary method whose domain errors become gRPC statuses."""

    @functools.wraps(method)
    async def call(self: Servicer, request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method(self, _readable(request), context)
        except Exception as error:  # noqa: BLE001 - RPC boundary
            await context.abort(*_status(error, method.__name__, self.tally))

    return call


def _guarded_stream(method: Callable) -> Callable:
    """The same for a method that answers with a stream."""

    @functools.wraps(method)
    async def call(self: Servicer, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        try:
            async for answer in method(self, _readable(request), context):
                yield answer
        except Exception as error:  # noqa: BLE001 - RPC boundary
            await context.abort(*_status(error, method.__name__, self.tally))

    return call


def _readable(request: T) -> T:
    """A request that could be read; PoseDubError for any other."""
    if isinstance(request, Unreadable):
        raise PoseDubError("The message cannot be read; send it again, or update the add-on or the command.")
    return request


def _status(error: Exception, method: str, tally: Tally) -> tuple[grpc.StatusCode, str]:
    """What the caller is told."""
    problem = explained(error)
    tally.error(problem.kind.value if problem else "INTERNAL")
    if problem is None:
        log.error("%s failed", method, exc_info=error)
        return grpc.StatusCode.INTERNAL, "The server hit an unexpected problem; see its log."
    return status_of(problem), problem.message


class Servicer:
    """Answers the DubbingService; every blocking step runs in a thread.

    Args:
        stopping: set when the server wants to leave; whoever watches is told then.
    """

    def __init__(
        self, store: Store, engines: EnginePool, runner: Runner, changed: ChangeSignal, stopping: threading.Event
    ) -> None:
        self._store = store
        self._blobs: Blobs = store.blobs
        self._engines = engines
        self._runner = runner
        self.tally = runner.tally
        self._changed, self._stopping = changed, stopping
        self._uploads: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._questions = Queries(store, engines, runner.memory, runner.encode, runner.making)

    @_guarded
    async def GetServerInfo(self, request: dubbing.GetServerInfoRequest, context: Any) -> Any:
        return dubbing.GetServerInfoResponse(
            version=__version__,
            protocol=wire.PROTOCOL,
            engines=wire.engine_messages(self._engines.weights),
            device=self._engines.drawing_device,
            limits=dubbing.Limits(
                max_asset_bytes=MAX_ASSET_BYTES, max_frames=MAX_FRAMES, max_chunk_bytes=MAX_CHUNK_BYTES
            ),
        )

    @_guarded
    async def GetAsset(self, request: dubbing.GetAssetRequest, context: Any) -> Any:
        complete = await asyncio.to_thread(self._blobs.use, request.asset_id)
        received = 0 if complete else self._blobs.received(request.asset_id)
        return dubbing.GetAssetResponse(complete=complete, received_bytes=received)

    @_guarded
    async def UploadAsset(self, requests: AsyncIterator[dubbing.UploadAssetRequest], context: Any) -> Any:
        messages = _Upload(aiter(requests))
        head = await messages.next()
        if head is None:
            raise PoseDubError("The upload is empty; send the asset's id, size and bytes.")
        async with self._uploads.setdefault(head.asset_id, asyncio.Lock()):  # two may send one file at the same time
            return await self._received(head, messages)

    async def _received(self, head: dubbing.UploadAssetRequest, messages: _Upload) -> Any:
        if await asyncio.to_thread(self._blobs.use, head.asset_id):
            return dubbing.UploadAssetResponse(complete=True, received_bytes=head.total_bytes)
        if not 0 < head.total_bytes <= MAX_ASSET_BYTES:
            raise PoseDubError(f"The asset's size of {head.total_bytes} bytes is outside 1 to {MAX_ASSET_BYTES}.")
        held, message = head.offset, head
        while message is not None:
            if held + len(message.chunk) > head.total_bytes:
                raise PoseDubError(f"The upload is longer than the {head.total_bytes} bytes it announced.")
            held = await asyncio.to_thread(self._blobs.append, head.asset_id, held, message.chunk)
            message = await messages.next()
        if held == head.total_bytes:
            await asyncio.to_thread(self._blobs.finish, head.asset_id)
        return dubbing.UploadAssetResponse(complete=held == head.total_bytes, received_bytes=held)

    @_guarded
    async def AnalyzeFaces(self, request: dubbing.AnalyzeFacesRequest, context: Any) -> Any:
        time, viewer = wire.fraction(request.time), wire.viewer_of(request.viewer)
        found, size = await asyncio.to_thread(self._questions.faces, request.asset_id, time, viewer)
        faces = [wire.found_face_message(face, size, thumbnail) for face, thumbnail in found]
        return dubbing.AnalyzeFacesResponse(faces=faces, width=size[0], height=size[1])

    @_guarded_stream
    async def ExtractPose(self, request: dubbing.ExtractPoseRequest, context: Any) -> AsyncIterator[Any]:
        times = [wire.fraction(time) for time in request.times]
        face, viewer = wire.face_selection(request.face), wire.viewer_of(request.viewer)
        asked = request.asset_id, face, times, request.weights_id, viewer, wire.reading_of(request.pose_reading)
        track = await asyncio.to_thread(self._questions.pose, *asked)
        ranges = [media.FrameRange(first=first, end=end) for first, end in track.without_face]
        for first in range(0, len(times), POSE_ROWS_AT_ONCE):
            rows = track.codes[first : first + POSE_ROWS_AT_ONCE]
            yield dubbing.ExtractPoseResponse(
                first=first,
                values=rows.ravel().tolist(),
                lids=track.lids[first : first + POSE_ROWS_AT_ONCE].tolist(),
                without_face=ranges if first == 0 else [],
                cuts=track.cuts if first == 0 else [],
            )

    @_guarded_stream
    async def PoseFromSpeech(self, request: dubbing.PoseFromSpeechRequest, context: Any) -> AsyncIterator[Any]:
        angles = await asyncio.to_thread(self._questions.pose_from_speech, wire.speech_pose_of(request))
        for first in range(0, len(angles), POSE_ROWS_AT_ONCE):
            rows = angles[first : first + POSE_ROWS_AT_ONCE]
            yield dubbing.PoseFromSpeechResponse(first=first, angles=rows.ravel().tolist())

    @_guarded
    async def SubmitDub(self, request: dubbing.SubmitDubRequest, context: Any) -> Any:
        job = await asyncio.to_thread(self._runner.submit, wire.request_of(request))
        log.info("job %s: submitted, %d frames at %s fps", job.id, job.request.spec.frame_count, job.request.spec.fps)
        return dubbing.SubmitDubResponse(dub=wire.job_message(job))

    @_guarded_stream
    async def WatchDub(self, request: dubbing.WatchDubRequest, context: Any) -> AsyncIterator[Any]:
        watch = await asyncio.to_thread(Watch, self._store, request.job_id, request.from_index)
        while not watch.over:
            if self._stopping.is_set():
                raise PoseDubError(STOPS, ErrorKind.UNAVAILABLE)
            change = self._changed.next()
            events = await asyncio.to_thread(watch.poll)
            for event in events:
                for message in wire.event_messages(event):
                    yield message
            if not events:
                await asyncio.wait([change], timeout=POLL_SECONDS)

    @_guarded
    async def CancelDub(self, request: dubbing.CancelDubRequest, context: Any) -> Any:
        job = await asyncio.to_thread(self._store.cancel, request.job_id)
        return dubbing.CancelDubResponse(dub=wire.job_message(job))

    @_guarded
    async def ListDubs(self, request: dubbing.ListDubsRequest, context: Any) -> Any:
        await asyncio.to_thread(self._store.keep, request.kept, time.time() + KEPT_SECONDS)
        jobs = await asyncio.to_thread(self._store.jobs, request.limit or 100)
        return dubbing.ListDubsResponse(dubs=[wire.job_message(job) for job in jobs])

    @_guarded
    async def EstimateDub(self, request: dubbing.EstimateDubRequest, context: Any) -> Any:
        asked = wire.request_of(request)
        return wire.estimate_message(await _asked(lambda gone: self._questions.estimate(asked, gone)))

    @_guarded_stream
    async def PreviewFrame(self, request: dubbing.PreviewFrameRequest, context: Any) -> AsyncIterator[Any]:
        asked = DubRequest(wire.spec_of(request.spec))
        preview = await _asked(lambda gone: self._questions.preview(asked, request.index, gone))
        for message in wire.preview_messages(preview):
            yield message


async def _asked(work: Callable[[Callable[[], bool]], T]) -> T:
    """Run in a thread what stops when the client no longer waits for it."""
    gone = threading.Event()
    try:
        return await asyncio.to_thread(work, gone.is_set)
    finally:
        gone.set()


class _Upload:
    """The messages of an upload; a client that is silent, or sends next to nothing, is dropped."""

    def __init__(self, messages: AsyncIterator[Any]) -> None:
        self._messages = messages
        self._until, self._lacking = 0.0, 0

    async def next(self) -> Any:
        """The next message, None at the end; PoseDubError when a minute brings less than `UPLOAD_STEP_BYTES`."""
        now = asyncio.get_running_loop().time()
        if self._lacking <= 0:
            self._until, self._lacking = now + UPLOAD_IDLE_SECONDS, UPLOAD_STEP_BYTES
        try:
            message = await asyncio.wait_for(anext(self._messages, None), self._until - now)
        except TimeoutError as error:
            raise PoseDubError("The upload stalled for a minute; send on from where it stopped.") from error
        self._lacking -= len(_readable(message).chunk) if message is not None else 0
        return message


class ChangeSignal:
    """Wakes watchers in the event loop when the store has changed in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()

    def next(self) -> asyncio.Future[None]:
        """A future that is done at the next change."""
        return self._future

    def announce(self) -> None:
        """Called in any thread after a change."""
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        done, self._future = self._future, self._loop.create_future()
        done.set_result(None)
