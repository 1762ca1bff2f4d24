"""A dub's sources looked through by several workers at the same time.

Each source is another worker's, and what is read of each picture by itself is shared out in parts: pose codes of views,
meshes of aligned crops. Following a face is one worker's: where it is looked for in a picture, and what it is known by
after a cut, come from the picture before, so that any other beginning would change measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from model_server.jobs.execution.ray_workers.parcels import Kept, Keys, Missing, Progressed, Task, Told
from model_server.jobs.execution.ray_workers.worker import raised
from model_server.pipeline.analysis import Kind, Quiet, Reporter
from model_server.pipeline.request import DubSpec, PoseVideo


@dataclass
class Heard:
    """What a worker said of sources.

    Attributes:
        keys: of frames.
        kept: what it found, by key.
        missing: parts that others may read.
    """

    keys: list[tuple[int, str]] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    missing: tuple[int, ...] = ()


Ask = Callable[[Task, Kind, frozenset[int], Reporter], Heard]
"""Has a worker look at one source of a dub, and read a share of it."""


def heard(said: Iterator[Any], report: Reporter) -> Heard:
    """All that a worker says, of which progress and warnings are reported; raises what a fault stands for."""
    found = Heard()
    for one in said:
        if isinstance(one, Progressed):
            report.progress(one.phase, one.done, one.total)
        elif isinstance(one, Told):
            report.warn(one.first, one.end, one.kind, one.message)
        elif isinstance(one, Kept):
            found.kept = one.contents
        elif isinstance(one, Keys):
            found.keys = one.frames
        elif isinstance(one, Missing):
            found.missing = one.numbers
        else:
            raise raised(one)
    return found


def looked_through(task: Task, ask: Ask, workers: int, report: Reporter) -> dict[str, bytes]:
    """What is found in a dub's movies, by key; nothing where there is nobody to share with."""
    sources = _sources(task.request.spec)
    if workers < 2 or not sources:
        return {}
    reports = [report, *[Quiet()] * len(sources)]
    with ThreadPoolExecutor(len(sources), "look") as pool:
        found = pool.map(lambda kinds, told: _one_after_the_other(task, kinds, ask, workers, told), sources, reports)
        return {key: content for kept in found for key, content in kept.items()}


def _sources(spec: DubSpec) -> list[tuple[Kind, ...]]:
    """What can be looked through at the same time; a face that is followed for two purposes is followed once."""
    pose, footage = spec.pose, spec.output.footage
    if not isinstance(pose, PoseVideo):
        return [("footage",)] if footage else []
    if footage is None:
        return [("pose",)]
    same = (pose.asset, pose.face) == (footage.asset, footage.face)
    return [("footage", "pose")] if same else [("footage",), ("pose",)]


def _one_after_the_other(
    task: Task, kinds: tuple[Kind, ...], ask: Ask, workers: int, report: Reporter
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for kind in kinds:
        found |= _source(replace(task, seeds={**task.seeds, **found}), kind, ask, workers, report)
    return found


def _source(task: Task, kind: Kind, ask: Ask, workers: int, report: Reporter) -> dict[str, bytes]:
    first = ask(task, kind, frozenset(), report)
    if not first.missing:
        return first.kept
    count, numbers = min(workers, len(first.missing)), first.missing
    shares = [
        frozenset(numbers[place * len(numbers) // count : (place + 1) * len(numbers) // count])
        for place in range(count)
    ]
    given = replace(task, seeds={**task.seeds, **first.kept})
    with ThreadPoolExecutor(count, "look") as pool:
        rest = pool.map(lambda share, told: ask(given, kind, share, told), shares, [report, *[Quiet()] * count])
        return first.kept | {key: content for one in rest for key, content in one.kept.items()}
