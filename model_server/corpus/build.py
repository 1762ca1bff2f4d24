"""Builds a corpus from units of work in parallel processes; a killed build goes on where it stopped.

Each unit becomes one shard (more when it exceeds 16 MiB), which appears whole or not at all. A unit is done when its
shard exists, so the shards themselves are the record of progress.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

from model_server.corpus.shards import (
    INDEX,
    MAX_SHARD_BYTES,
    Dropped,
    Entry,
    Index,
    ShardContent,
    Storable,
    read_content,
    read_index,
    shard_bytes,
    write_index,
    write_shard,
)
from model_server.errors import PoseDubError
from model_server.scratch import tidy

LOG = "workers.log"
_INDEX_EVERY = 15.0  # seconds
_QUEUED_PER_WORKER = 2
_SHARD = re.compile(r"shard-(\d{5})(?:-(\d+))?\.safetensors")

Made = tuple[Sequence[Storable], Sequence[Dropped]]
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Shares:
    """Parts of the identities (or clips) kept for validation and test, each 0 to 1, spread evenly over their names."""

    val: float = 0.05
    test: float = 0.1

    def assign(self, names: Iterable[str]) -> dict[str, str]:
        """The split of each name."""
        ordered = sorted(set(names))
        test = _spread(ordered, _count(self.test, len(ordered)))
        rest = [name for name in ordered if name not in test]
        val = _spread(rest, min(_count(self.val, len(ordered)), len(rest)))
        return {name: "test" if name in test else "val" if name in val else "train" for name in ordered}


def _count(share: float, total: int) -> int:
    """At least one of three or more where any are asked for."""
    return max(round(share * total), int(share > 0 and total >= 3))


def _spread(names: list[str], count: int) -> set[str]:
    return {names[(2 * k + 1) * len(names) // (2 * count)] for k in range(count)}


@dataclass(frozen=True)
class Plan:
    """What is to be built.

    Attributes:
        units: pieces of work, each becoming a shard; picklable.
        make: turns a unit into clips and dropped sources; picklable, deterministic.
        split: the split of a clip.
        settings: what the corpus depends on, JSON values; a folder holds one corpus only.
        dropped: sources dropped while planning.
    """

    units: Sequence[Any]
    make: Callable[[Any], Made]
    split: Callable[[Entry], str]
    settings: dict[str, Any]
    dropped: tuple[Dropped, ...] = ()


@dataclass
class _State:
    """Contents of the finished shards by unit."""

    folder: Path
    plan: Plan
    contents: dict[int, list[ShardContent]] = field(default_factory=dict)
    written: float = 0.0

    @property
    def frames(self) -> int:
        return sum(clip.frames for parts in self.contents.values() for part in parts for clip in part.clips)

    def save(self, at_once: bool = True) -> None:
        """Write the index, now or when the last one is a while ago."""
        if at_once or time.monotonic() - self.written > _INDEX_EVERY:
            write_index(self.folder, self.index())
            self.written = time.monotonic()

    def index(self) -> Index:
        parts = [part for unit in sorted(self.contents) for part in self.contents[unit]]
        clips = tuple(replace(clip, split=self.plan.split(clip)) for part in parts for clip in part.clips)
        dropped = self.plan.dropped + tuple(item for part in parts for item in part.dropped)
        return Index(clips, dropped, self.plan.settings)


def build(plan: Plan, folder: Path, workers: int = 1, progress: Progress = lambda done, total, frames: None) -> Index:
    """Build what is missing of a corpus and write its index.

    Args:
        plan: what to build.
        folder: where the corpus lies; made when missing.
        workers: processes.
        progress: told (units done, units, frames so far).

    Raises:
        PoseDubError: the folder holds a corpus of other settings, or a unit failed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = _State(folder, plan)
    _check_settings(state)
    _remove_unfinished(folder)
    state.contents = _finished(folder)
    state.save()
    total = len(plan.units)
    progress(len(state.contents), total, state.frames)
    missing = [number for number in range(total) if number not in state.contents]
    try:
        for number in _made(plan, folder, missing, workers):
            state.contents[number] = _read_unit(folder, number)
            state.save(at_once=False)
            progress(len(state.contents), total, state.frames)
    finally:
        state.save()
    return state.index()


def _check_settings(state: _State) -> None:
    if (state.folder / INDEX).exists() and read_index(state.folder).settings != state.plan.settings:
        raise PoseDubError(
            f"The folder {state.folder} holds a corpus made with other settings (see its {INDEX}); "
            "repeat those, or choose another folder."
        )


def _remove_unfinished(folder: Path) -> None:
    tidy(folder)
    for part in folder.glob(".*.part"):  # of earlier versions, which did not say whose they were
        part.unlink()


def _finished(folder: Path) -> dict[int, list[ShardContent]]:
    """Contents of finished units; a unit's first shard is written last."""
    matches = (_SHARD.fullmatch(path.name) for path in folder.glob("shard-*.safetensors"))
    return {number: _read_unit(folder, number) for number in sorted({int(m[1]) for m in matches if m and not m[2]})}


def _read_unit(folder: Path, number: int) -> list[ShardContent]:
    first = _shard_path(folder, number, 0)
    extra = sorted(folder.glob(f"{first.stem}-*.safetensors"), key=lambda path: int(path.stem.split("-")[2]))
    return [read_content(path) for path in (first, *extra)]


def _shard_path(folder: Path, number: int, part: int) -> Path:
    return folder / (f"shard-{number:05}-{part}.safetensors" if part else f"shard-{number:05}.safetensors")


def _made(plan: Plan, folder: Path, missing: list[int], workers: int) -> Iterator[int]:
    """Numbers of the units as they are finished; few are queued at a time, so an interrupt ends soon."""
    if not missing:
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (folder / LOG,))
    waiting, running = iter(missing), {}
    try:
        while True:
            for number in waiting:
                running[pool.submit(_make_unit, plan.make, plan.units[number], folder, number)] = number
                if len(running) >= workers * _QUEUED_PER_WORKER:
                    break
            if not running:
                return
            yield from _collected(running)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collected(running: dict[Future[None], int]) -> Iterator[int]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        number = running.pop(future)
        future.result()
        yield number


def _start_worker(log: Path) -> None:
    """Native libraries talk to stderr, which the progress bar needs; one thread each, as there are many processes."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    Thread(target=_end_with_parent, daemon=True).start()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 2)
    import cv2

    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """A worker of a killed build would wait for work for ever."""
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _make_unit(make: Callable[[Any], Made], unit: Any, folder: Path, number: int) -> None:
    clips, dropped = make(unit)
    parts = list(_packed(clips)) or [[]]
    for part in reversed(range(len(parts))):
        write_shard(_shard_path(folder, number, part), parts[part], dropped if part == 0 else ())


def _packed(clips: Iterable[Storable]) -> Iterator[list[Storable]]:
    """Clips in groups that fit into a shard."""
    group: list[Storable] = []
    size = 0
    for clip in clips:
        extra = shard_bytes(clip)
        if group and size + extra > MAX_SHARD_BYTES - 4096:
            yield group
            group, size = [], 0
        group.append(clip)
        size += extra
    if group:
        yield group
