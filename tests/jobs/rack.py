"""A simulated rack: the server's own queue, farm and store, and workers that wait as long as a card draws a frame.

    python -m tests.jobs.rack --workers 64 --jobs 200 --frames 50 --milliseconds 100

says how much of the workers' time was used, how long jobs took, and how long previews asked meanwhile did.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from model_server import __version__
from model_server.engines.runtime.priority_lock import PriorityLock, hurried
from model_server.engines.weights import default_weights
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.making import Work
from model_server.jobs.execution.ray_workers.farm import Farm
from model_server.jobs.execution.ray_workers.parcels import Kept, Keys, Made
from model_server.jobs.execution.runner import Runner, setup_of
from model_server.jobs.execution.threads import FARMED, Worker
from model_server.jobs.model import JobState
from model_server.jobs.store import Store
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
        return {"version": __version__, "device": "cpu", "precision": "fp32", "process": 0, "host": ""}

    def stop(self, token: str) -> None:
        """Nothing is ahead."""

    def analyse(self, task: Any) -> Iterator[Any]:
        """Frames differ by job and index."""
        frames = range(task.request.first, task.request.end)
        yield Kept({})
        yield Keys([(index, f"{task.text} {index}") for index in frames])

    def frames(self, task: Any, first: int, end: int) -> Iterator[Any]:
        """One each `seconds`."""
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
    """Has places for cards."""

    workers: int
    seconds: float
    size: int
    cards: list[Card] = field(default_factory=list)

    def put(self, content: bytes) -> bytes:
        """Nothing is sent."""
        return content

    def start(self, weights: list, device: str, precision: str, choices: Path | None) -> Card:
        """A new card."""
        self.cards.append(Card(self.seconds, os.urandom(self.size)))
        return self.cards[-1]

    def leave(self) -> None:
        """Nothing runs elsewhere."""


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser()
    for name, value in (("workers", 64), ("jobs", 200), ("frames", 50), ("milliseconds", 100), ("bytes", 40_000)):
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
    runner = Runner(store, engines, stopping=stopping, making=farm)
    worker = Worker(store, runner, stopping, FARMED)
    while farm.workers < options.workers:
        time.sleep(0.1)
    asset = store.blobs.put(b"a portrait, and a sound")
    spec = DubSpec(Portrait(asset), Speech(asset), PoseFrontal(), Fraction(25), options.frames)
    jobs = [runner.submit(DubRequest(_seeded(spec, seed))) for seed in range(options.jobs)]
    begun, ended = time.monotonic(), dict[str, float]()
    worker.start()
    previews = _previews(farm, engines, DubRequest(_seeded(spec, 10**6), 0, 1), lambda: len(ended) == len(jobs))
    while len(ended) < len(jobs):
        time.sleep(0.05)
        done = (job.id for job in store.jobs(len(jobs)) if job.state is JobState.DONE)
        ended.update({job: time.monotonic() - begun for job in done if job not in ended})
    seconds, frames = max(ended.values()), options.jobs * options.frames
    asked = np.array(previews())
    worker.stop()
    farm.stop()
    order = np.corrcoef(range(len(jobs)), [ended[job.id] for job in jobs])[0, 1]
    return {
        "seconds": round(seconds, 2),
        "frames per second": round(frames / seconds, 1),
        "share of linear": round(frames * rack.seconds / (seconds * options.workers), 3),
        "order of ends with order of jobs": round(float(order), 3),
        "previews": len(asked),
        "preview, median s": round(float(np.median(asked)), 3),
        "preview, 99th percentile s": round(float(np.percentile(asked, 99)), 3),
    }


def _seeded(spec: DubSpec, seed: int) -> DubSpec:
    return replace(spec, seed=seed)


def _previews(farm: Farm, engines: EnginePool, request: DubRequest, over: Any) -> Any:
    """Ask for one preview after the other until `over`; returns what waits for the seconds that each took."""
    took: list[float] = []
    weights = engines.info()

    def ask() -> None:
        while not over():
            begun = time.monotonic()
            farm.preview(Work(request, weights, setup_of(request, weights, engines), over))
            took.append(time.monotonic() - begun)
            time.sleep(0.05)

    thread = threading.Thread(target=ask)
    thread.start()

    def waited() -> list[float]:
        thread.join()
        return took

    return waited


if __name__ == "__main__":
    main()
