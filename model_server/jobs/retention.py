"""How much a store may hold and for how long, what goes first, and whether all that it holds is as it was made.

Nothing that goes is lost for good: the same request makes the same frames again. What a job needs that waits or runs,
what was used within the last hour, and jobs that somebody lists as takes are never removed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from model_server.jobs.store import Store
from model_server.surroundings import explained

GIB = 2**30
DAY = 86400.0
# Seconds for which whatever was touched stays: an upload whose job is still to come, a frame that is about to be named.
GRACE = 3600.0
# A list of takes is shown again while its file is worked on; a file that is not opened for so long keeps nothing.
KEPT_SECONDS = 90 * DAY
PRUNE_SECONDS = 3600.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a store may hold: bytes in all, and seconds since the last use; None for no limit."""

    size: int | None = None
    age: float | None = None

    @staticmethod
    def of(gib: float, days: float) -> Limits:
        """Limits in GiB and days, 0 for none."""
        return Limits(round(gib * GIB) or None, days * DAY or None)


@dataclass(frozen=True)
class Usage:
    """What a store holds.

    Attributes:
        size, contents: bytes and number of files.
        jobs, kept: how many dubs there are, and how many of them no limit may remove now.
        removable: bytes that limits may remove.
    """

    size: int
    contents: int
    jobs: int
    kept: int
    removable: int


@dataclass(frozen=True)
class Pruned:
    """What was removed: dubs of the list, files and their bytes."""

    jobs: int
    contents: int
    size: int


@dataclass(frozen=True)
class Damage:
    """What `verify` found: files read, those whose content is not what its name says, and dubs that lack frames."""

    contents: int
    damaged: tuple[str, ...]
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class _Item:
    """Something that may go: a dub with what it alone needs, or content that no dub needs."""

    used: float
    job: str = ""
    contents: frozenset[str] = frozenset()


class _Census:
    """The contents of a store and who needs them, at one moment."""

    def __init__(self, store: Store, now: float) -> None:
        self.store, self.now = store, now
        contents = list(store.blobs.files())
        self.sizes = {one.sha: one.size for one in contents}
        self.touched = {one.sha: one.used for one in contents}
        self.jobs = store.last_used()
        self.needs = {job: frozenset(store.needs(job)) for job, *_ in self.jobs}
        self.needed = Counter(sha for shas in self.needs.values() for sha in shas)

    def items(self) -> list[_Item]:
        """What may go, least recently used first."""
        jobs = (_Item(used, job, self.needs[job]) for job, over, used, kept in self.jobs if over and kept < self.now)
        loose = (_Item(at, "", frozenset([sha])) for sha, at in self.touched.items() if not self.needed[sha])
        return sorted((item for item in (*jobs, *loose) if item.used < self.now - GRACE), key=lambda item: item.used)

    def release(self, item: _Item) -> set[str]:
        """Contents that nobody needs once an item is gone."""
        if item.job:
            self.needed.subtract(item.contents)
        free = {sha for sha in item.contents if not self.needed[sha] and sha in self.sizes}
        return {sha for sha in free if self.touched[sha] < self.now - GRACE}


def usage(store: Store, now: float | None = None) -> Usage:
    """How much a store holds, and how much of it may go."""
    census = _Census(store, now or time.time())
    total, items = sum(census.sizes.values()), census.items()
    going = set().union(*[census.release(item) for item in items])
    kept = len(census.jobs) - sum(bool(item.job) for item in items)
    return Usage(total, len(census.sizes), len(census.jobs), kept, sum(census.sizes[sha] for sha in going))


def prune(store: Store, limits: Limits, now: float | None = None) -> Pruned:
    """Remove what is older than the limit, then the least recently used until the rest fits."""
    census = _Census(store, now or time.time())
    total, jobs, gone = sum(census.sizes.values()), 0, set[str]()
    for item in census.items():
        old = limits.age is not None and item.used < census.now - limits.age
        if not old and (limits.size is None or total <= limits.size):
            break
        if item.job and not store.forget_job(item.job):
            continue
        jobs += bool(item.job)
        free = census.release(item) - gone
        gone |= free
        total -= sum(census.sizes[sha] for sha in free)
    removed = _remove(census, gone)
    return Pruned(jobs, len(removed), sum(census.sizes[sha] for sha in removed))


def _remove(census: _Census, shas: set[str]) -> set[str]:
    """Delete contents, first from the list of results; those that were used meanwhile stay."""
    census.store.forget_results(shas)
    removed = {sha for sha in shas if _unused(census, sha)}
    for sha in removed:
        census.store.blobs.remove(sha)
    return removed


def _unused(census: _Census, sha: str) -> bool:
    return census.store.blobs.used(sha) == census.touched[sha]


def verify(
    store: Store, repair: bool = False, progress: Callable[[int, int], None] = lambda done, total: None
) -> Damage:
    """Read every content and compare it with its name.

    Args:
        repair: whether damaged contents are removed, and dubs that lack frames are made again when they are asked for,
            or at once by a server that runs.
        progress: told how many of the contents were read.
    """
    shas = sorted(one.sha for one in store.blobs.files())
    damaged = tuple(_damaged(store, shas, progress))
    present = set(shas) - set(damaged)
    lacking = dict(_lacking(store, present))
    if repair:
        store.forget_results(damaged)
        for sha in damaged:
            store.blobs.remove(sha)
        for job, missing in lacking.items():
            for sha in missing:
                store.lose(job, sha)
    return Damage(len(shas), damaged, tuple(lacking))


def _damaged(store: Store, shas: list[str], progress: Callable[[int, int], None]) -> Iterator[str]:
    for done, sha in enumerate(shas):
        progress(done, len(shas))
        if store.blobs.has(sha) and store.blobs.damaged(sha):
            yield sha
    progress(len(shas), len(shas))


def _lacking(store: Store, present: set[str]) -> Iterator[tuple[str, set[str]]]:
    """Jobs, and the frames of them that are named and not there."""
    for job, *_ in store.last_used():
        missing = store.frame_contents(job) - present
        if missing:
            yield job, missing


class Housekeeping:
    """Keeps a served store within its limits, in a thread of its own.

    Args:
        stopping: set when the process wants to leave.
    """

    def __init__(self, store: Store, limits: Limits, stopping: threading.Event) -> None:
        self._store, self._limits, self._stopping = store, limits, stopping
        self._thread = threading.Thread(target=self._loop, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin at once."""
        self._thread.start()

    def stop(self) -> None:
        """After `stopping` was set: wait for the thread's end."""
        self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._store.blobs.tidy()
                done = prune(self._store, self._limits)
                if done.contents:
                    log.info("removed %d dubs, %d files, %d MiB", done.jobs, done.contents, done.size // 2**20)
            except Exception as error:  # noqa: BLE001 - thread boundary: the server serves on
                problem = explained(error)
                log.error("the store could not be pruned: %s", problem or error, exc_info=None if problem else error)
            self._stopping.wait(PRUNE_SECONDS)
