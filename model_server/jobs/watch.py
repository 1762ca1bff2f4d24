"""Following a job: its events from a frame index on, read from the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.model import Accepted, Ended, Event, FrameMade, Progress, Warned
from model_server.jobs.store import Store

FRAMES_AT_ONCE = 16
BYTES_AT_ONCE = 32 * 2**20
POLL_SECONDS = 1.0


class Watch:
    """Cursor over a job's events.

    The worker never waits for it: a slow reader only reads later.
    """

    def __init__(self, store: Store, job_id: str, from_index: int = 0) -> None:
        job = store.job(job_id)
        store.use(job_id)
        self._store = store
        self._id = job_id
        self._next = max(from_index, job.request.first)
        self._warned: set[Warned] = set()
        self._progress: Progress | None = None
        self._accepted = False
        self.over = False

    def poll(self) -> list[Event]:
        """Events since the last call, without waiting; the last one ever is Ended."""
        state, progress = self._store.progress(self._id)  # before the frames: a final state then means all are seen
        events: list[Event] = [] if self._accepted else [Accepted(self._store.job(self._id))]
        self._accepted = True
        events += self._new_progress(progress) + self._new_warnings()
        found = self._store.frames(self._id, self._next, FRAMES_AT_ONCE)
        frames = self._read(found)
        events += frames
        if state.final and len(frames) == len(found) < FRAMES_AT_ONCE:
            events += self._ended()
        return events

    def _ended(self) -> list[Event]:
        """Nothing if somebody has asked for the job again meanwhile."""
        job = self._store.job(self._id)
        self.over = job.state.final
        return [Ended(job)] if self.over else []

    def _new_progress(self, now: Progress) -> list[Event]:
        if now == self._progress:
            return []
        self._progress = now
        return [now]

    def _new_warnings(self) -> list[Event]:
        fresh = [warning for warning in self._store.warnings(self._id) if warning not in self._warned]
        self._warned.update(fresh)
        return list(fresh)

    def _read(self, found: list[tuple[int, str]]) -> list[Event]:
        """As many of the frames found as memory shall hold at once, at least one; damaged ones are made again."""
        frames: list[Event] = []
        size = 0
        for index, sha in found:
            try:
                png = self._store.blobs.read(sha)
            except PoseDubError as error:
                if error.kind is not ErrorKind.CORRUPT:
                    raise
                self._store.lose(self._id, sha)
                break
            frames.append(FrameMade(index, png))
            self._next, size = index + 1, size + len(png)
            if size > BYTES_AT_ONCE:
                break
        return frames


def follow(store: Store, job_id: str, from_index: int = 0, wait: Callable[[], None] | None = None) -> Iterator[Event]:
    """All events of a job until it ends, blocking between them."""
    watch = Watch(store, job_id, from_index)
    while not watch.over:
        events = watch.poll()
        yield from events
        if not events and not watch.over:
            wait() if wait else store.wait(POLL_SECONDS)
