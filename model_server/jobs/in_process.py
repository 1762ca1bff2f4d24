"""The model server's work without a server: the same store and runner in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from model_server.engines.base import Sizes, Traits
from model_server.engines.registry import sizes, traits
from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.blobs import check_id
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.runner import Runner
from model_server.jobs.model import Event, Job
from model_server.jobs.store import Store
from model_server.jobs.watch import POLL_SECONDS, follow
from model_server.pipeline.request import DubRequest


class LocalServer:
    """Runs dubs in this process; media are read where they lie.

    The same calls as `model_server.service.remote.RemoteServer`.
    """

    def __init__(self, data: Path, engines: EnginePool) -> None:
        self._store = Store(data)
        self._engines = engines
        self._media: dict[str, Path] = {}
        self._stopping = threading.Event()
        self._runner = Runner(self._store, engines, self._path, self._stopping)
        self._threads: list[threading.Thread] = []
        self._problem: Exception | None = None

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def add(self, asset: str, path: Path) -> None:
        """Name the file that holds an asset."""
        self._media[check_id(asset)] = path

    def traits(self, weights_id: str) -> Traits:
        """What the engine of these weights wants of a dub."""
        return traits(self._engines.info(weights_id))

    def sizes(self, weights_id: str) -> Sizes:
        """Pictures that weights draw."""
        return sizes(self._engines.info(weights_id))

    def submit(self, request: DubRequest) -> Job:
        """Queue a dub whose assets were added."""
        return self._runner.submit(request)

    def events(self, job: Job, from_index: int = 0) -> Iterator[Event]:
        """The job's events until it ends; makes its frames meanwhile."""
        followed = threading.Event()
        thread = threading.Thread(target=self._work, args=(job, followed), name="dub", daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()
        return self._followed(job, from_index, followed)

    def _followed(self, job: Job, from_index: int, followed: threading.Event) -> Iterator[Event]:
        try:
            yield from follow(self._store, job.id, from_index, self._wait)
        finally:
            followed.set()

    def _wait(self) -> None:
        """Until something happened; raises what ended the work without the store knowing."""
        if self._problem:
            raise self._problem
        if self._stopping.is_set():
            raise PoseDubError("The dub was interrupted; the same command goes on from there.", ErrorKind.CANCELLED)
        self._store.wait(POLL_SECONDS)

    def cancel(self, job: Job) -> None:
        """Stop a job; its frames stay in the data folder."""
        self._store.cancel(job.id)

    def leave(self, job: Job) -> None:
        """Nobody waits any more; the job ends with this process, as `__exit__` does it."""

    def _work(self, job: Job, followed: threading.Event) -> None:
        try:
            self._run(job, followed)
        except Exception as error:  # noqa: BLE001 - thread boundary: whoever waits for the frames must hear of it
            self._problem = error

    def _run(self, job: Job, followed: threading.Event) -> None:
        while not (self._stopping.is_set() or followed.is_set()):
            claimed = self._store.claim(job.id)
            if claimed:
                self._runner.run(claimed)
            else:  # another process is at it, or it is over, unless frames of it turn out to be damaged
                self._stopping.wait(POLL_SECONDS)

    def _path(self, asset: str) -> Path:
        if asset not in self._media:
            raise PoseDubError(f"The asset {asset[:12]} was not given; name its file.", ErrorKind.NOT_FOUND)
        return self._media[asset]
