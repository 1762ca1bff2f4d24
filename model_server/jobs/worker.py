"""The thread that works through the queue; it never waits for a client."""

from __future__ import annotations

import logging
import threading

from model_server.jobs.runner import Runner
from model_server.jobs.store import Store

IDLE_SECONDS = 1.0
log = logging.getLogger(__name__)


class Worker:
    """One background thread that runs queued jobs, oldest first."""

    def __init__(self, store: Store, runner: Runner, stopping: threading.Event) -> None:
        self._store = store
        self._runner = runner
        self._stopping = stopping
        self._thread = threading.Thread(target=self._loop, name="worker", daemon=True)

    def start(self) -> None:
        """Begin with the jobs that an earlier server left."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch at hand, put its job back into the queue and end the thread."""
        self._stopping.set()
        with self._store.changed:
            self._store.changed.notify_all()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception:  # thread boundary: the queue must go on
                log.exception("the worker met a problem; it goes on with the next job")
                self._stopping.wait(IDLE_SECONDS)

    def _step(self) -> None:
        job = self._store.claim()
        if job:
            self._runner.run(job)
            return
        with self._store.changed:
            if not self._stopping.is_set():
                self._store.changed.wait(IDLE_SECONDS)
