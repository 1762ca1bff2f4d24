"""Making a job's frames: the pipeline's output goes into the store, batch by batch."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from model_server import __version__
from model_server.engines.base import WeightsInfo
from model_server.engines.runtime.value_cache import ValueCache
from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.blobs import is_id
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.making import Making, Work
from model_server.jobs.execution.tally import Tally
from model_server.jobs.marks import frame_marking
from model_server.jobs.model import Job, JobState, Warned
from model_server.jobs.store import LeaseLost, Store
from model_server.pipeline.analysis import Context, analyse
from model_server.pipeline.media.encode import encode_png
from model_server.pipeline.render import Encode, Frame, Rendering
from model_server.pipeline.request import DubRequest
from model_server.pipeline.suitability import check_suitable
from model_server.surroundings import explained, out_of_memory
from model_server.tracing import Phases, span

REPORT_SECONDS = 0.2
COMMIT_SECONDS = 0.25
COMMIT_FRAMES = 64
# Files that wait for the disk at the same time.
WRITERS = 4
UNEXPECTED = "The server hit an unexpected problem with this dub; see its log and report it."
log = logging.getLogger(__name__)
T = TypeVar("T")


class StoredResults:
    """The store, as the pipeline's memory of earlier results."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.result = store.result
        self.read = store.blobs.read

    def keep(self, key: str, content: bytes) -> str:
        """Store a result under its key and return its blob."""
        sha = self._store.blobs.put(content)
        self._store.keep_result(key, sha)
        return sha


class JobReport:
    """Progress of a job into the store, at most a few times a second."""

    def __init__(self, store: Store, job_id: str) -> None:
        self._store = store
        self._id = job_id
        self._phase = ""
        self._last = 0.0
        self._phases = Phases()

    def close(self) -> None:
        """The last phase is over."""
        self._phases.end()

    def progress(self, phase: str, done: int, total: int) -> None:
        """Record how far the job is; raises LeaseLost when it is no longer ours."""
        now = time.monotonic()
        if phase != self._phase:
            self._phases.begin(phase)
        if phase != self._phase or done == total or now - self._last > REPORT_SECONDS:
            self._phase, self._last = phase, now
            self._store.report(self._id, phase, done, total)

    def warn(self, first: int, end: int, kind: str, message: str) -> None:
        """Record a warning about frames `first <= k < end`."""
        self._store.warn(self._id, Warned(first, end, kind, message))


class Runner:
    """Runs claimed jobs to their end.

    Args:
        media: path of an asset by id; the store's uploads by default.
        stopping: set when the process wants to leave; the job goes back into the queue.
        memory: what is kept between two dubs of the same sources.
        encode: makes the frames' files of pictures.
        making: who makes frames, None for this process.

    Attributes:
        memory, encode, making: the same, for who asks about such dubs.
        tally: what was done.
    """

    def __init__(
        self,
        store: Store,
        engines: EnginePool,
        media: Callable[[str], Path] | None = None,
        stopping: threading.Event | None = None,
        memory: ValueCache | None = None,
        encode: Encode = encode_png,
        making: Making | None = None,
    ) -> None:
        self._store = store
        self.making = making
        self.encode = encode
        self._engines = engines
        self._media = media or store.blobs.media
        self._stopping = stopping or threading.Event()
        self.memory = memory or ValueCache()
        self._writers = ThreadPoolExecutor(WRITERS, "write")
        self._told: set[str] = set()
        self.tally = Tally()

    def submit(self, request: DubRequest) -> Job:
        """Check a request and queue it; the same request again is the same job."""
        weights = checked(request, self._engines)
        for asset in request.spec.assets():
            self._media(asset)
        setup = setup_of(request, weights, self._engines)
        if not self._store.has_done(request, setup):  # which a full disk can still be asked for
            self._store.blobs.require_space(0)
        return self._store.submit(request, (weights.id, weights.name, weights.kind, weights.preset), setup)

    def run(self, job: Job) -> None:
        """Make a claimed job's frames and record how it ended."""
        log.info("job %s: started, frames %d to %d", job.id, job.request.first, job.request.end)
        try:
            with span("dub", job=job.id, frames=job.request.end - job.request.first):
                self._make(job)
        except LeaseLost:
            log.info("job %s: cancelled", job.id)
            self.tally.end(JobState.CANCELLED.value)
        except Exception as error:  # the worker thread's boundary: a job may fail, the server may not
            problem = explained(error)
            if problem is None:
                log.exception("job %s: failed", job.id)
            self.tally.error(problem.kind.value if problem else "INTERNAL")
            if out_of_memory(error):
                self.memory.clear()
            self._stopped(job, problem or PoseDubError(UNEXPECTED))

    def _make(self, job: Job) -> None:
        request, total, made = job.request, job.request.end - job.request.first, 0
        with closing(JobReport(self._store, job.id)) as report:
            report.progress("weights", 0, 1)
            with closing(self._frames(job, request, report)) as came:
                for frames in grouped(came):
                    self._commit(job.id, frames)
                    made += len(frames)
                    report.progress("frames", made, total)
        self._store.finish(job.id, JobState.DONE)
        self.tally.end(JobState.DONE.value)
        log.info("job %s: done, %d frames", job.id, made)

    def _frames(self, job: Job, request: DubRequest, report: JobReport) -> Generator[Frame]:
        """All frames of a job, each once."""
        if self.making:
            weights = self._engines.info(job.weights[0])
            setup = setup_of(request, weights, self._engines)
            yield from self.making.frames(Work(request, weights, setup, self._stopping.is_set), report)
            return
        engine = self._engines.engine(job.weights[0], request.spec.precision)
        self._tell_of_device(request, report)
        context = Context(engine, self._media, StoredResults(self._store), report, self._stopping.is_set, self.memory)
        mark = frame_marking(request, engine.weights, setup_of(request, engine.weights, self._engines))
        rendering = Rendering(analyse(request, context), context, self.encode, mark)
        report.progress("frames", 0, request.end - request.first)
        yield from rendering.frames(range(request.first, request.end))

    def _tell_of_device(self, request: DubRequest, report: JobReport) -> None:
        """Warn once of each thing that had to be given up on this device."""
        for notice in self._engines.notices:
            if notice not in self._told:
                self._told.add(notice)
                report.warn(request.first, request.end, "device", notice)

    def _commit(self, job_id: str, frames: list[Frame]) -> None:
        blobs = self._writers.map(lambda frame: frame.blob or self._store.blobs.put(frame.png), frames)
        rows = [(frame.index, frame.key, blob) for frame, blob in zip(frames, blobs, strict=True)]
        drawn = [frame.index for frame in frames if not frame.blob]
        self._store.commit(job_id, rows, drawn)
        self.tally.committed(len(drawn), len(frames) - len(drawn))

    def _stopped(self, job: Job, error: PoseDubError) -> None:
        if error.kind is ErrorKind.CANCELLED and self._stopping.is_set():
            self._store.release(job.id)
            log.info("job %s: put back into the queue, the server is stopping", job.id)
        else:
            self._fail(job, with_roles(error.message, job.request))

    def _fail(self, job: Job, sentence: str) -> None:
        log.warning("job %s: %s", job.id, sentence)
        self.tally.end(JobState.FAILED.value)
        self._store.finish(job.id, JobState.FAILED, sentence)


def checked(request: DubRequest, engines: EnginePool) -> WeightsInfo:
    """The weights of a request; PoseDubError when it cannot be met."""
    request.validate()
    weights = engines.info(request.spec.weights)
    check_suitable(request.spec, weights)
    return weights


def setup_of(request: DubRequest, weights: WeightsInfo, engines: EnginePool) -> str:
    """What changes the pictures of a request besides itself, as `job_id` wants it."""
    return f"{__version__} {weights.id} {engines.drawing_device} {engines.precision(request.spec.precision)}"


def with_roles(sentence: str, request: DubRequest) -> str:
    """Uploads lie under their hashes; an editor knows them by what they are for."""
    for asset, role in request.spec.asset_roles():
        sentence = with_role(sentence, asset, role)
    return sentence


def with_role(sentence: str, asset: str, role: str) -> str:
    """The same of one asset: "The file (hash) is empty" becomes "The file of the portrait is empty".

    Whoever names an asset "" or "a" hears of that, in a sentence that stays what it is.
    """
    if not is_id(asset):
        return sentence
    return re.sub(rf"\b(file|picture|movie) {asset}", rf"\1 of {role}", sentence).replace(asset, role)


def grouped(frames: Iterable[T], seconds: float | None = None) -> Iterator[list[T]]:
    """Frames in groups worth one commit, or one message of another length: what came in it, the first one at once."""
    seconds = COMMIT_SECONDS if seconds is None else seconds
    group: list[T] = []
    flushed = 0.0
    for frame in frames:
        group.append(frame)
        if len(group) >= COMMIT_FRAMES or time.monotonic() - flushed > seconds:
            yield group
            group, flushed = [], time.monotonic()
    if group:
        yield group
