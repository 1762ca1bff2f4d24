"""The durable store: jobs, committed frames, warnings and reusable results.

Every change is one transaction, and a worker's changes are fenced by its
lease: a worker that lost its job can change nothing any more.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from sqlite3 import OperationalError
from typing import Any

from model_server import owner
from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.blobs import Blobs
from model_server.jobs.database import Database
from model_server.jobs.marks import job_id
from model_server.jobs.model import Job, JobState, Progress, Warned
from model_server.jobs.postgres import PostgresDatabase
from model_server.jobs.remote_blobs import RemoteBlobs
from model_server.pipeline.request import DubRequest
from model_server.scratch import tidy_temporary

LEASE_SECONDS = 60.0
MAX_ATTEMPTS = 3
GAVE_UP = (
    "The server stopped three times while making this dub, most likely out of memory; see its log, close other "
    "programs or choose smaller pictures, then dub again."
)

_POSITION = """
(SELECT COUNT(*) FROM job AS other WHERE job.state = 'queued' AND (other.state = 'running'
   OR (other.state = 'queued' AND other.created < job.created))) AS position
"""
_COUNTS = f"""
SELECT job.*,
  (SELECT COUNT(*) FROM frame WHERE frame.job = job.id) AS committed,
  (SELECT COUNT(*) FROM generated WHERE generated.job = job.id) AS generated,
  {_POSITION}
FROM job
"""
_USED = """
INSERT INTO job_use (job, used) SELECT id, ? FROM job WHERE id = ?
ON CONFLICT (job) DO UPDATE SET used = excluded.used
"""
_KEPT = """
INSERT INTO job_use (job, kept) SELECT id, ? FROM job WHERE id = ?
ON CONFLICT (job) DO UPDATE SET kept = CASE WHEN job_use.kept > excluded.kept THEN job_use.kept ELSE excluded.kept END
"""
_WARNED = """
INSERT INTO warning (job, first, "end", kind, message) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (job, first, kind) DO UPDATE SET "end" = excluded."end", message = excluded.message
"""
_FRAME = "INSERT INTO frame (job, idx, sha) VALUES (?, ?, ?) ON CONFLICT (job, idx) DO UPDATE SET sha = excluded.sha"
_RESULT = "INSERT INTO result (key, sha) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET sha = excluded.sha"
_GENERATED = "INSERT INTO generated (job, idx) VALUES (?, ?) ON CONFLICT (job, idx) DO NOTHING"
_HELD = "UPDATE job SET lease = ? WHERE id = ? AND owner = ? AND state = 'running'"


AnyDatabase = Database | PostgresDatabase


class LeaseLost(Exception):
    """The job was cancelled or given to another worker."""


class Store:
    """Jobs and their results in one data folder, or with their list in a database that several servers share.

    Args:
        folder: of the files; of several servers the same one, on a disk that all of them see.
        url: of the database; "" for a file in the folder.
        blobs: URL of the files where they lie elsewhere, "" for the folder; what is in the folder is then a cache.

    Attributes:
        blobs: content-addressed files: assets, frames, pose codes.
        changed: notified after every change, for readers in this process.
        listeners: called after every change, in the thread that made it.
    """

    def __init__(self, folder: Path, url: str = "", blobs: str = "") -> None:
        tidy_temporary()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        files = folder / "blobs"
        self.blobs = RemoteBlobs(files, blobs) if blobs else Blobs(files, shared=bool(url))
        self.changed = threading.Condition()
        self.listeners: list[Callable[[], None]] = []
        self._database: AnyDatabase = PostgresDatabase(url) if url else Database(folder / "posedub.sqlite")
        self._owner = owner.this_process()
        self._held: dict[str, float] = {}

    def submit(self, request: DubRequest, weights: tuple[str, str, str, str], setup: str) -> Job:
        """Queue a dub, or return the job that already holds it.

        A failed or cancelled job goes back into the queue and keeps its frames.

        Args:
            weights: id, name, kind and preset of the weights.
            setup: as of `job_id`.
        """
        job = job_id(request, setup)
        if self.has_done(request, setup):
            self.use(job)
            return self.job(job)
        with self._database.write() as sql:
            sql.execute(
                "INSERT INTO job (id, request, weights, state, created) VALUES (?, ?, ?, 'queued', ?)"
                " ON CONFLICT (id) DO NOTHING",
                (job, request.to_json(), json.dumps(weights), time.time()),
            )
            sql.execute(
                "UPDATE job SET state = 'queued', phase = 'queued', attempts = 0, error = '', created = ?"
                " WHERE id = ? AND state IN ('failed', 'cancelled')",
                (time.time(), job),
            )
            sql.execute(_USED, (time.time(), job))
        self._announce()
        return self.job(job)

    def has_done(self, request: DubRequest, setup: str) -> bool:
        """Whether a dub was made already; arguments as of `submit`."""
        rows = self._database.rows("SELECT state FROM job WHERE id = ?", job_id(request, setup))
        return bool(rows) and JobState(rows[0]["state"]) is JobState.DONE

    def use(self, job_id: str) -> None:
        """Somebody looks at a job: no limit removes it soon. A full disk takes no note of it."""
        with suppress(OperationalError), self._database.write() as sql:
            sql.execute(_USED, (time.time(), job_id))

    def keep(self, job_ids: Iterable[str], until: float) -> None:
        """Somebody lists takes of these jobs: no limit removes them before `until`, seconds since 1970."""
        with self._database.write() as sql:
            sql.executemany(_KEPT, [(until, job) for job in job_ids])

    def job(self, job_id: str) -> Job:
        """The job of that id; PoseDubError when there is none."""
        rows = self._database.rows(_COUNTS + "WHERE id = ?", job_id)
        if not rows:
            raise PoseDubError(f"There is no job {job_id!r} on this server; submit the dub again.", ErrorKind.NOT_FOUND)
        return _job(rows[0])

    def progress(self, job_id: str) -> tuple[JobState, Progress]:
        """How far a job is; unlike `job` it costs the same however long the job."""
        (row,) = self._database.rows(f"SELECT state, phase, done, total, {_POSITION} FROM job WHERE id = ?", job_id)
        return JobState(row["state"]), Progress(row["phase"], row["done"], row["total"], row["position"])

    def jobs(self, limit: int = 100) -> list[Job]:
        """Jobs, newest first."""
        return [_job(row) for row in self._database.rows(_COUNTS + "ORDER BY created DESC LIMIT ?", limit)]

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        rows = self._database.rows("SELECT state, COUNT(*) AS jobs FROM job GROUP BY state")
        return {state.value: 0 for state in JobState} | {row["state"]: row["jobs"] for row in rows}

    def cancel(self, job_id: str) -> Job:
        """Stop a job that is not over; its frames stay readable."""
        with self._database.write() as sql:
            sql.execute("UPDATE job SET state = 'cancelled' WHERE id = ? AND state IN ('queued', 'running')", (job_id,))
        self._announce()
        return self.job(job_id)

    def claim(self, job_id: str = "") -> Job | None:
        """Take the oldest waiting job, or the one of that id, for this process."""
        self._requeue_orphans()
        with self._database.write() as sql:
            row = sql.execute(
                "UPDATE job SET state = 'running', owner = ?, lease = ?, attempts = attempts + 1 WHERE id ="
                " (SELECT id FROM job WHERE state = 'queued' AND ? IN ('', id) ORDER BY created LIMIT 1"
                f" {self._database.lock_row}) RETURNING id",
                (self._owner, time.time() + LEASE_SECONDS, job_id),
            ).fetchone()
        if row:
            self._held[row["id"]] = time.monotonic()
        return self.job(row["id"]) if row else None

    def _requeue_orphans(self) -> None:
        for row in self._database.rows("SELECT id, owner, lease, attempts FROM job WHERE state = 'running'"):
            if self._is_orphan(row):
                with self._database.write() as sql:
                    given_up = row["attempts"] >= MAX_ATTEMPTS
                    sql.execute(
                        "UPDATE job SET state = ?, error = ?, owner = '' WHERE id = ? AND owner = ?",
                        (*(("failed", GAVE_UP) if given_up else ("queued", "")), row["id"], row["owner"]),
                    )

    def _is_orphan(self, row: Any) -> bool:
        """Whether nobody works at a running job any more; clocks tell it of other computers alone: they may be set."""
        if not owner.is_alive(row["owner"]):
            return True
        if not owner.is_here(row["owner"]):
            return row["lease"] < time.time()
        held = self._held.setdefault(row["id"], time.monotonic())
        return row["owner"] == self._owner and time.monotonic() - held > LEASE_SECONDS

    def report(self, job_id: str, phase: str, done: int, total: int) -> None:
        """Record progress; raises LeaseLost when the job is no longer ours."""
        change = "UPDATE job SET phase = ?, done = ?, total = ? WHERE id = ?"
        self._change(job_id, lambda sql: sql.execute(change, (phase, done, total, job_id)))

    def warn(self, job_id: str, warning: Warned) -> None:
        """Record a warning once."""
        values = job_id, warning.first, warning.end, warning.kind, warning.message
        self._change(job_id, lambda sql: sql.execute(_WARNED, values))

    def commit(self, job_id: str, frames: Sequence[tuple[int, str, str]], generated: Iterable[int] = ()) -> None:
        """Make frames readable: (index, key, blob) each; raises LeaseLost.

        Args:
            generated: indices of those that were not made before.
        """

        def write(sql: Any) -> None:
            sql.execute("UPDATE job SET attempts = 0 WHERE id = ?", (job_id,))
            sql.executemany(_FRAME, [(job_id, index, sha) for index, _, sha in frames])
            # In one order, so that two writers of the same keys do not wait for each other.
            sql.executemany(_RESULT, sorted((key, sha) for _, key, sha in frames))
            sql.executemany(_GENERATED, [(job_id, index) for index in generated])

        self._change(job_id, write)

    def finish(self, job_id: str, state: JobState, error: str = "") -> None:
        """End a job that this process holds."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE job SET state = ?, error = ?, owner = '' WHERE id = ? AND owner = ? AND state = 'running'",
                (state.value, error, job_id, self._owner),
            )
        self._announce()

    def release(self, job_id: str) -> None:
        """Put a job of this process back into the queue, for the next server start."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE job SET state = 'queued', owner = '', attempts = 0 WHERE id = ? AND owner = ?"
                " AND state = 'running'",
                (job_id, self._owner),
            )

    def frames(self, job_id: str, first: int, limit: int) -> list[tuple[int, str]]:
        """Committed frames from index `first` on without a gap: (index, blob) each."""
        rows = self._database.rows(
            "SELECT idx, sha FROM frame WHERE job = ? AND idx >= ? ORDER BY idx LIMIT ?", job_id, first, limit
        )
        return [(row["idx"], row["sha"]) for place, row in enumerate(rows) if row["idx"] == first + place]

    def lose(self, job_id: str, sha: str) -> None:
        """Forget a job's frames whose content is damaged; a job that was done makes them again."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM frame WHERE job = ? AND sha = ?", (job_id, sha))
            sql.execute("UPDATE job SET state = 'queued', phase = 'queued' WHERE id = ? AND state = 'done'", (job_id,))
        self._announce()

    def warnings(self, job_id: str) -> list[Warned]:
        """Warnings of a job, by first frame."""
        rows = self._database.rows(
            'SELECT first, "end", kind, message FROM warning WHERE job = ? ORDER BY first', job_id
        )
        return [Warned(row["first"], row["end"], row["kind"], row["message"]) for row in rows]

    def result(self, key: str) -> str | None:
        """Blob of the result with that key, if it was made before and is still intact."""
        rows = self._database.rows("SELECT sha FROM result WHERE key = ?", key)
        return rows[0]["sha"] if rows and self.blobs.intact(rows[0]["sha"]) else None

    def last_used(self) -> list[tuple[str, bool, float, float]]:
        """Of each job: its id, whether it is over, when it was last used, and until when it is kept."""
        rows = self._database.rows(
            "SELECT id, state, created, coalesce(used, 0) AS used, coalesce(kept, 0) AS kept"
            " FROM job LEFT JOIN job_use ON job = id"
        )
        return [
            (row["id"], JobState(row["state"]).final, max(row["created"], row["used"]), row["kept"]) for row in rows
        ]

    def needs(self, job_id: str) -> set[str]:
        """Contents that a job has, or that it is made of."""
        (row,) = self._database.rows("SELECT request FROM job WHERE id = ?", job_id)
        return self.frame_contents(job_id) | set(_request(row["request"]).spec.assets())

    def frame_contents(self, job_id: str) -> set[str]:
        """Contents that are a job's frames."""
        return {row["sha"] for row in self._database.rows("SELECT sha FROM frame WHERE job = ?", job_id)}

    def forget_job(self, job_id: str) -> bool:
        """Remove a job that is over from the list; False when it was asked for again meanwhile."""
        with self._database.write() as sql:
            over = "DELETE FROM job WHERE id = ? AND state IN ('done', 'failed', 'cancelled')"
            return sql.execute(over, (job_id,)).rowcount == 1

    def forget_results(self, shas: Iterable[str]) -> None:
        """Forget results whose content goes, or is damaged."""
        with self._database.write() as sql:
            sql.executemany("DELETE FROM result WHERE sha = ?", [(sha,) for sha in shas])

    def keep_result(self, key: str, sha: str) -> None:
        """Remember a result by its key."""
        with self._database.write() as sql:
            sql.execute(_RESULT, (key, sha))

    def _change(self, job_id: str, write: Callable[[Any], object]) -> None:
        """Write something of a job that this process holds; raises LeaseLost."""

        def work(sql: Any) -> bool:
            if sql.execute(_HELD, (time.time() + LEASE_SECONDS, job_id, self._owner)).rowcount != 1:
                return False
            write(sql)
            return True

        if not self._database.together(work):
            raise LeaseLost(job_id)
        self._held[job_id] = time.monotonic()
        self._announce()

    def wait(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> None:
        """Until something has changed, at most so long; not at all where `unless` says so."""
        with self.changed:
            if not unless():
                self.changed.wait(seconds)

    def wake(self) -> None:
        """End everybody's `wait`."""
        with self.changed:
            self.changed.notify_all()

    def _announce(self) -> None:
        self.wake()
        for listener in self.listeners:
            listener()


# Watchers ask often, and a request may carry a pose code for each frame.
_request = lru_cache(maxsize=8)(DubRequest.from_json)


def _job(row: Any) -> Job:
    return Job(
        id=row["id"],
        request=_request(row["request"]),
        state=JobState(row["state"]),
        phase=row["phase"],
        done=row["done"],
        total=row["total"],
        error=row["error"],
        created=row["created"],
        committed=row["committed"],
        generated=row["generated"],
        position=row["position"],
        weights=tuple(json.loads(row["weights"])),
    )
