"""The front's side of a cluster: workers that come and go, and the frames that they make."""

from __future__ import annotations

import logging
import platform
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from model_server import __version__
from model_server.engines.runtime.value_cache import ValueCache
from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.making import Work
from model_server.jobs.execution.ray_workers.cluster import READY_SECONDS, Cluster, RemoteWorker, WorkerLostError
from model_server.jobs.execution.ray_workers.looking import Heard, heard, looked_through
from model_server.jobs.execution.ray_workers.parcels import Fault, Made, Task, Told, packed, unpacked
from model_server.jobs.execution.ray_workers.ranges import DEATHS, Dub, Piece, Ranges
from model_server.jobs.execution.ray_workers.worker import raised
from model_server.jobs.store import GAVE_UP, Store
from model_server.pipeline.analysis import Kind, Reporter
from model_server.pipeline.preview import Preview
from model_server.pipeline.render import Frame
from model_server.pipeline.request import DubRequest, Precision
from model_server.pipeline.result_cache import digest

# How often it is looked for new workers, and whether idle ones live.
LOOK_SECONDS = 1.0
IDLE_SECONDS = 10.0
# Of so many workers one may be asked for previews at the same time; those go before frames there, and however many
# editors look at previews, the other workers are the dubs'.
PREVIEW_SHARE = 4
# Frames of a dub that wait to be committed.
WAITING = 8
NOBODY = "No Ray worker is there; start one: posedub worker --ray ADDRESS."
STOPPED = "The dub was stopped."
# Part of the key under which a dub's analysis is kept: to be changed with anything that changes what it holds.
_ANALYSIS = "ray analysis 2"
log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Seat:
    """A worker and the thread that keeps it at work.

    Attributes:
        worker: None until it is ready.
        elsewhere: whether it runs on another computer.
        asked: questions that it answers beside its work.
    """

    worker: RemoteWorker | None = None
    elsewhere: bool = False
    busy: bool = False
    asked: int = 0
    thread: threading.Thread = field(default_factory=threading.Thread)


class Farm:
    """Makes frames with a cluster's workers.

    Args:
        device: of all workers.
        stopping: set when the process wants to leave.
    """

    def __init__(
        self, cluster: Cluster, store: Store, engines: EnginePool, device: str, stopping: threading.Event
    ) -> None:
        self.device = device
        self._cluster, self._store, self._engines, self._stopping = cluster, store, engines, stopping
        self._seats: list[_Seat] = []
        self._lock = threading.Condition()
        self._previewing = 0
        self._ranges = Ranges(lambda: len(self._seats))
        self._media = ValueCache()
        self._precisions: dict[str, Precision] = {}
        self._first = threading.Lock()
        self._weights = [(info, cluster.put(info.path.read_bytes()) if info.path else None) for info in engines.weights]
        self._looking = threading.Thread(target=self._look, name="farm", daemon=True)
        self._looking.start()

    def problem(self) -> str:
        """Why no dub can be made now."""
        return "" if self._ready() else NOBODY

    @property
    def workers(self) -> int:
        """How many are at work or ready for it."""
        return len(self._ready())

    def stop(self) -> None:
        """Leave the cluster."""
        self._ranges.close()
        self._looking.join()
        self._cluster.leave()

    def frames(self, work: Work, report: Reporter) -> Iterator[Frame]:
        """All frames of a request: known ones first, the others as workers make them."""
        keys, task = self._analysed(work, report)
        known = {index: self._store.result(key) for index, key in keys}
        report.progress("frames", 0, len(keys))
        for index, key in keys:
            if known[index]:
                yield Frame(index, key, known[index])
        missing = [index for index, _ in keys if not known[index]]
        if missing:
            yield from self._drawn(work, task, missing, report)

    def preview(self, work: Work) -> Preview:
        """By the worker that has the least to do; it draws it before anything else."""
        task = self._task(work)
        with self._preview_place(work):
            answer = self._with_worker(lambda seat, worker: worker.preview(self._for(seat, task)), work)
        if isinstance(answer, Fault):
            raise raised(answer)
        kept, png, approximate = answer
        blob = self._store.blobs.put(png)
        for key, content in kept.items():
            self._store.keep_result(key, blob if content == png else self._store.blobs.put(content))
        return Preview(png, approximate)

    def _analysed(self, work: Work, report: Reporter) -> tuple[list[tuple[int, str]], Task]:
        def beat() -> None:
            report.progress("workers", 0, 1)

        task = self._task(work, beat)

        def look(task: Task, kind: Kind, share: frozenset[int], told: Reporter) -> Heard:
            return self._with_worker(
                lambda seat, worker: heard(worker.look(self._for(seat, task), kind, share), told), work, beat
            )

        try:
            found = {} if task.seeds else looked_through(task, look, len(self._ready()), report)
            task = replace(task, seeds={**task.seeds, **found})
            said = self._with_worker(
                lambda seat, worker: heard(worker.analyse(self._for(seat, task)), report), work, beat
            )
        except BaseException:
            self._stop(task)
            raise
        if not (found or said.kept):
            return said.keys, task
        seeds = {**task.seeds, **said.kept}
        self._store.keep_result(self._analysis_key(work), self._store.blobs.put(packed(seeds)))
        return said.keys, replace(task, seeds=seeds)

    def _stop(self, task: Task) -> None:
        """Nobody wants any more of a dub."""
        for seat in self._ready():
            if worker := seat.worker:
                worker.stop(task.job)

    def _drawn(self, work: Work, task: Task, missing: list[int], report: Reporter) -> Iterator[Frame]:
        """Frames that no store has, as they come from all workers; `report` hears of it when none came for a while."""
        total = work.request.end - work.request.first
        came: queue.Queue[Any] = queue.Queue(WAITING)
        dub = Dub(task, lambda one: _put(came, one, dub))
        self._ranges.add(dub, runs(missing))
        try:
            for left in range(len(missing), 0, -1):
                yield self._next(came, work, report, (total - left, total))
        finally:
            if self._ranges.drop(dub):
                self._stop(task)

    def _next(self, came: queue.Queue[Any], work: Work, report: Reporter, done: tuple[int, int]) -> Frame:
        while True:
            _check_wanted(work)
            try:
                one = came.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                report.progress("frames", *done)
                continue
            if isinstance(one, Fault):
                raise raised(one)
            if isinstance(one, Told):
                report.warn(one.first, one.end, one.kind, one.message)
                continue
            return Frame(one.index, one.key, None, one.png)

    def _with_worker(
        self, ask: Callable[[_Seat, RemoteWorker], Any], work: Work, beat: Callable[[], None] = lambda: None
    ) -> Any:
        """Have a worker asked; another one when it dies, as long as the dub is wanted.

        Args:
            beat: called while there is none.
        """
        for _ in range(DEATHS):
            with self._seated(work, beat) as (seat, worker):
                try:
                    return ask(seat, worker)
                except WorkerLostError as error:
                    log.warning("a worker is lost: %s", error)
                    seat.worker = None
        raise PoseDubError(GAVE_UP)

    def _seated(self, work: Work, beat: Callable[[], None]) -> _Asked:
        """The worker with the least to do, once there is one."""
        while not (seats := self._ready()):
            _check_wanted(work)
            beat()
            with self._lock:
                self._lock.wait(LOOK_SECONDS)
        return _Asked(min(seats, key=lambda seat: (seat.asked, seat.busy)))

    @contextmanager
    def _preview_place(self, work: Work) -> Iterator[None]:
        """One of the places for previews, once there is one."""
        with self._lock:
            while self._previewing >= max(len(self._ready()) // PREVIEW_SHARE, 1):
                _check_wanted(work)
                self._lock.wait(LOOK_SECONDS)
            self._previewing += 1
        try:
            yield
        finally:
            with self._lock:
                self._previewing -= 1
                self._lock.notify_all()

    def _ready(self) -> list[_Seat]:
        return [seat for seat in self._seats if seat.worker]

    def _task(self, work: Work, beat: Callable[[], None] = lambda: None) -> Task:
        spec = work.request.spec
        blob = self._store.result(self._analysis_key(work))
        seeds = unpacked(self._store.blobs.read(blob)) if blob else {}
        media = {asset: (str(self._store.blobs.media(asset)), None) for asset in spec.assets()}
        run, text = uuid.uuid4().hex, work.request.to_json()
        return Task(run, run, text, work.weights.id, self._precision_of(work, beat), work.setup, media, seeds)

    def _precision_of(self, work: Work, beat: Callable[[], None]) -> Precision:
        """What all workers draw a dub with: what one of them has measured, or frames would differ."""
        asked, weights = self._engines.precision(work.request.spec.precision), work.weights.id
        if asked != "auto":
            return asked
        if weights not in self._precisions:
            measured = self._with_worker(lambda _, worker: worker.load(weights, "auto"), work, beat)
            self._precisions.setdefault(weights, measured)
        return self._precisions[weights]

    def _for(self, seat: _Seat, task: Task) -> Task:
        """The task as a worker needs it; on another computer with what it cannot read."""
        return replace(task, media={asset: self._sent(asset) for asset in task.media}) if seat.elsewhere else task

    def _sent(self, asset: str) -> tuple[str, Any]:
        path = self._store.blobs.media(asset)
        return str(path), self._media.get(asset, lambda: self._cluster.put(path.read_bytes()))

    def _analysis_key(self, work: Work) -> str:
        return digest(_ANALYSIS, __version__, work.weights.id, work.setup, DubRequest(work.request.spec).to_json())

    def _look(self) -> None:
        """Have as many workers as the cluster has places for."""
        while not self._stopping.is_set():
            try:
                places = self._cluster.workers
            except Exception as error:  # noqa: BLE001 - thread boundary: the cluster may come back
                log.error("the Ray cluster does not answer: %s", error)
                places = 0
            for _ in range(places - len(self._seats)):
                seat = _Seat()
                seat.thread = threading.Thread(target=self._sit, args=(seat,), name="seat", daemon=True)
                with self._lock:
                    self._seats.append(seat)
                seat.thread.start()
            self._stopping.wait(LOOK_SECONDS)

    def _sit(self, seat: _Seat) -> None:
        """The life of a worker, as the front sees it."""
        try:
            worker, found = self._begun()
            if (found["version"], found["device"]) != (__version__, self.device):
                log.error("a worker of version %(version)s on %(device)s is not used", found)
                return
            log.info("a worker joins: process %(process)d on %(device)s", found)
            with self._lock:
                seat.worker, seat.elsewhere = worker, found["host"] != platform.node()
                self._lock.notify_all()
            self._keep_busy(seat, worker)
        except WorkerLostError as error:
            if not self._stopping.is_set():
                log.warning("a worker is lost: %s", error)
        except Exception:  # thread boundary: the other workers go on
            log.exception("a worker cannot be used")
        finally:
            with self._lock:
                self._seats.remove(seat)
                self._lock.notify_all()

    def _begun(self) -> tuple[RemoteWorker, Mapping[str, Any]]:
        """A worker that is ready, the default weights loaded; the first one measures their precision for all."""
        default, asked = self._engines.info().id, self._engines.precision("auto")
        worker = self._cluster.start(self._weights, self.device, self._engines.choices)
        found = worker.ready(READY_SECONDS)
        with nullcontext() if default in self._precisions else self._first:
            loaded = worker.load(default, self._precisions.get(default, asked))
            self._precisions.setdefault(default, loaded)
        return worker, found

    def _keep_busy(self, seat: _Seat, worker: RemoteWorker) -> None:
        looked = time.monotonic()
        while not (self._stopping.is_set() or self._ranges.closed) and seat.worker is worker:
            piece = self._ranges.take(LOOK_SECONDS)
            if piece:
                seat.busy = True
                self._make(piece, seat, worker)
                seat.busy = False
            elif time.monotonic() - looked > IDLE_SECONDS:
                worker.ready()
                looked = time.monotonic()

    def _make(self, piece: Piece, seat: _Seat, worker: RemoteWorker) -> None:
        dub, died = piece.dub, True
        task = replace(self._for(seat, dub.work), token=piece.token)
        piece.cut = lambda end: worker.cut(piece.token, end)
        try:
            for one in worker.frames(task, piece.next, piece.end):
                if not isinstance(one, Made) or self._ranges.made(piece, one.index):
                    dub.hear(one)
                else:
                    worker.stop(piece.token)
            died = False
        finally:
            if not self._ranges.done(piece, died):
                dub.hear(Fault(GAVE_UP, ErrorKind.INVALID.value))


@dataclass
class _Asked:
    """A seat that answers a question beside its work."""

    seat: _Seat

    def __enter__(self) -> tuple[_Seat, RemoteWorker]:
        self.seat.asked += 1
        assert self.seat.worker
        return self.seat, self.seat.worker

    def __exit__(self, *_: object) -> None:
        self.seat.asked -= 1


def _check_wanted(work: Work) -> None:
    if work.cancelled():
        raise PoseDubError(STOPPED, ErrorKind.CANCELLED)


def _put(came: queue.Queue[Any], one: Any, dub: Dub) -> None:
    """Hand on what a worker said, as soon as there is room; nobody waits for a dub that is over."""
    while not dub.over:
        with suppress(queue.Full):
            came.put(one, timeout=LOOK_SECONDS)
            return


def runs(indices: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges (first, end)."""
    starts = [k for place, k in enumerate(indices) if place == 0 or indices[place - 1] != k - 1]
    ends = [k + 1 for place, k in enumerate(indices) if place == len(indices) - 1 or indices[place + 1] != k + 1]
    return list(zip(starts, ends, strict=True))
