"""A simulated rack: the server's own queue, farm and store, and workers that wait as long as a card draws a frame.

    python -m tests.jobs.rack --workers 64 --jobs 200 --frames 50 --milliseconds 100 --editors 4

says how much of the workers' time was used, when jobs ended, how long previews asked meanwhile by some editors took,
and what the front itself needed for it. With frames of a millisecond it says how many the front can take.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_server import __version__
from model_server.engines.runtime.priority_lock import PriorityLock, hurried
from model_server.engines.weights import default_weights
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.making import Work
from model_server.jobs.execution.ray_workers.cluster import AHEAD
from model_server.jobs.execution.ray_workers.farm import Farm
from model_server.jobs.execution.ray_workers.parcels import Kept, Keys, Made
from model_server.jobs.execution.runner import Runner, setup_of
from model_server.jobs.execution.threads import FARMED, Worker
from model_server.jobs.model import Job
from model_server.jobs.store import Store
from model_server.pipeline.prefetch import prefetch
from model_server.pipeline.request import DubRequest, DubSpec, Portrait, PoseFrontal, Speech


@dataclass
class Card:
    """Draws one frame after the other, those that somebody waits for first.

    Attributes:
        seconds: of a frame.
        content: bytes of a frame's file, as many as they usually are.
    """

    seconds: float
    content: bytes
    turn: PriorityLock = field(default_factory=PriorityLock)

    def ready(self, seconds: float = 0) -> dict[str, Any]:
        """As a worker's."""
        return {"version": __version__, "device": "cpu", "process": 0, "host": ""}

    def load(self, weights: str, precision: str) -> str:
        """It has no engine."""
        return precision

    def cut(self, token: str, end: int) -> None:
        """What is beyond is not wanted from here, and said to be so."""

    def stop(self, token: str) -> None:
        """Nothing is ahead."""

    def analyse(self, task: Any) -> Iterator[Any]:
        """Frames differ by job and index."""
        frames = range(task.request.first, task.request.end)
        yield Kept({})
        yield Keys([(index, f"{task.text} {index}") for index in frames])

    def frames(self, task: Any, first: int, end: int) -> Iterator[Any]:
        """One each `seconds`, as far ahead of the front as a worker may be."""
        return prefetch(self._drawn(task, first, end), AHEAD)

    def _drawn(self, task: Any, first: int, end: int) -> Generator[Made]:
        for index in range(first, end):
            self._draw()
            name = f"{task.request.spec.seed} {index}".encode()
            yield Made(index, f"{task.text} {index}", name + self.content[len(name) :])

    def preview(self, task: Any) -> Any:
        """After the frame at hand."""
        with hurried():
            self._draw()
        return {}, b"preview", False

    def _draw(self) -> None:
        with self.turn:
            time.sleep(self.seconds)


@dataclass
class Rack:
    """A cluster that has places for cards."""

    workers: int
    seconds: float
    size: int
    cards: list[Card] = field(default_factory=list)

    def put(self, content: bytes) -> bytes:
        """Nothing is sent."""
        return content

    def start(self, weights: list, device: str, choices: Path | None) -> Card:
        """A new card."""
        self.cards.append(Card(self.seconds, os.urandom(self.size)))
        return self.cards[-1]

    def leave(self) -> None:
        """Nothing runs elsewhere."""


class TimedRunner(Runner):
    """Notes when jobs ended, in seconds since 1970."""

    def run(self, job: Job) -> None:
        """As always."""
        super().run(job)
        self.ended = getattr(self, "ended", {}) | {job.id: time.monotonic()}


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser()
    defaults = {"workers": 64, "jobs": 200, "frames": 50, "milliseconds": 100, "bytes": 40_000, "editors": 4}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(options, Path(folder)), indent=1))


def measured(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """All jobs through a server's parts; the figures."""
    store, stopping = Store(folder), threading.Event()
    engines = EnginePool([default_weights()], "cpu", "fp32")
    rack = Rack(options.workers, options.milliseconds / 1000, options.bytes)
    farm = Farm(rack, store, engines, "cpu", stopping)
    runner = TimedRunner(store, engines, stopping=stopping, making=farm)
    worker = Worker(store, runner, stopping, FARMED)
    while farm.workers < options.workers:
        time.sleep(0.1)
    asset = store.blobs.put(b"a portrait, and a sound")
    spec = DubSpec(Portrait(asset), Speech(asset), PoseFrontal(), Fraction(25), options.frames)
    jobs = [runner.submit(DubRequest(replace(spec, seed=seed))) for seed in range(options.jobs)]
    begun, spent, over = time.monotonic(), time.process_time(), threading.Event()
    worker.start()
    previews = _previews(farm, engines, DubRequest(replace(spec, seed=10**6), 0, 1), options.editors, over)
    while store.counts()["done"] < len(jobs):
        time.sleep(0.1)
    spent = time.process_time() - spent
    over.set()
    asked = np.array(previews())
    worker.stop()
    farm.stop()
    ends = np.array([runner.ended[job.id] - begun for job in jobs])
    return _figures(options, ends, spent, asked)


def _figures(options: argparse.Namespace, ends: NDArray, spent: float, asked: NDArray) -> dict[str, float]:
    """Of jobs' ends, the process's seconds of a core, and previews' seconds."""
    seconds, frames = ends.max(), options.jobs * options.frames
    each = options.milliseconds / 1000 / (seconds * options.workers)
    # Where each job ends if all frames are made in the jobs' order, and as many jobs are at work as can be.
    fair = np.minimum(np.arange(options.jobs) + FARMED, options.jobs) * options.frames * seconds / frames
    return {
        "seconds": round(seconds, 2),
        "frames per second": round(frames / seconds, 1),
        "share of linear": round(frames * each, 3),
        "share of linear, previews counted": round((frames + len(asked)) * each, 3),
        "front, core ms per frame": round(1000 * spent / frames, 2),
        "order of ends with order of jobs": round(float(np.corrcoef(range(len(ends)), ends)[0, 1]), 3),
        "latest end for its turn": round(float((ends / fair).max()), 3),
        "previews": len(asked),
        "preview, median s": round(float(np.median(asked)), 3),
        "preview, 99th percentile s": round(float(np.percentile(asked, 99)), 3),
        "preview, longest s": round(float(asked.max()), 3),
    }


def _previews(farm: Farm, engines: EnginePool, request: DubRequest, editors: int, over: threading.Event) -> Any:
    """Have editors ask for one preview after the other until `over`; returns what waits for the seconds each took."""
    took: list[float] = []
    weights = engines.info()

    def ask() -> None:
        while not over.wait(0.05):
            begun = time.monotonic()
            farm.preview(Work(request, weights, setup_of(request, weights, engines), over.is_set))
            took.append(time.monotonic() - begun)

    threads = [threading.Thread(target=ask) for _ in range(editors)]
    for thread in threads:
        thread.start()

    def waited() -> list[float]:
        for thread in threads:
            thread.join()
        return took

    return waited


if __name__ == "__main__":
    main()
