"""The reference path in a process of its own.

The server has threads wait passively, so that Blender gets the processor. A direct implementation would leave torch's
default, which is faster while nothing else runs; and that is decided once for a process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter

from model_server.bench.decoded import Decoded
from model_server.bench.reference import ReferencePath
from model_server.engines.base import WeightsInfo
from model_server.pipeline.request import DubSpec

WAITING = "OMP_WAIT_POLICY"


@dataclass(frozen=True)
class ReferenceRun:
    """Frames of one run as PNG files.

    Attributes:
        seconds: from the first frame to the last.
        stages: seconds by stage.
    """

    frames: list[bytes]
    seconds: float
    stages: Mapping[str, float]


@contextmanager
def reference_process(weights: WeightsInfo, device: str) -> Iterator[ProcessPoolExecutor]:
    """A process with the reference's networks, which `run_reference` takes; it begins with the first run."""
    kept = os.environ.pop(WAITING, None)
    try:
        with ProcessPoolExecutor(1, get_context("spawn"), _begin, (weights, device)) as process:
            yield process
    finally:
        if kept is not None:
            os.environ[WAITING] = kept


def run_reference(process: ProcessPoolExecutor, media: Decoded, spec: DubSpec, count: int) -> ReferenceRun:
    """The first `count` frames of a dub."""
    return process.submit(_run, media, spec, count).result()


_path: ReferencePath


def _begin(weights: WeightsInfo, device: str) -> None:
    global _path
    _path = ReferencePath(weights, device)


def _run(media: Decoded, spec: DubSpec, count: int) -> ReferenceRun:
    start = perf_counter()
    frames, watch = _path.run(media, spec, count)
    return ReferenceRun(frames, perf_counter() - start, dict(watch.seconds))
