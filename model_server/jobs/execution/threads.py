"""What works through the queue; it never waits for a client."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from model_server.jobs.execution.runner import Runner
from model_server.jobs.model import Job
from model_server.jobs.store import Store
from model_server.surroundings import explained

# Jobs that run at once. They take turns at the engine, batch by batch, so that a short one is not kept by a long one.
SIDE_BY_SIDE = 4
# The same where others make the frames: enough for short jobs to keep a rack busy.
FARMED = 128
IDLE_SECONDS = 1.0
log = logging.getLogger(__name__)


class Worker:
    """Background threads that run queued jobs, oldest first, `at_once` side by side."""

    def __init__(self, store: Store, runner: Runner, stopping: threading.Event, at_once: int = SIDE_BY_SIDE) -> None:
        self._store = store
        self._runner = runner
        self._stopping = stopping
        self._free = threading.Semaphore(at_once)
        self._jobs = ThreadPoolExecutor(at_once, "job")
        self._thread = threading.Thread(target=self._loop, name="worker", daemon=True)

    def start(self) -> None:
        """Begin with the jobs that an earlier server left."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batches at hand, put their jobs back into the queue and end the threads."""
        self._stopping.set()
        self._store.wake()
        self._thread.join()
        self._jobs.shutdown()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            if self._free.acquire(timeout=IDLE_SECONDS):
                self._begin()

    def _begin(self) -> None:
        """Hand the oldest waiting job to a thread, or wait for one."""
        try:
            job = None if self._stopping.is_set() else self._store.claim()
        except Exception as error:  # noqa: BLE001 - thread boundary: the queue must go on
            _note("the worker", error)
            self._free.release()
            self._stopping.wait(IDLE_SECONDS)
            return
        if job:
            self._jobs.submit(self._run, job)
            return
        self._free.release()
        self._store.wait(IDLE_SECONDS, self._stopping.is_set)

    def _run(self, job: Job) -> None:
        try:
            self._runner.run(job)
        except Exception as error:  # noqa: BLE001 - thread boundary: the next job must go on
            _note(f"job {job.id}", error)
        finally:
            self._free.release()


def _note(who: str, error: Exception) -> None:
    """The store failed: say it once, in a sentence where it is known why."""
    problem = explained(error)
    log.error("%s: %s It will be tried again.", who, problem or "failed.", exc_info=None if problem else error)
