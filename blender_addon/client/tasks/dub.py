"""One dub from files to saved frames, as the work of one background thread.

Every step finds out what is left to do, so that after a lost connection the
same steps run again and go on where they stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...core import sequences
from ...core.errors import AddonError
from ...core.events import (
    Event,
    FramesSaved,
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobFinished,
    JobMeasured,
    JobProgress,
    JobWarning,
    ServerInfo,
)
from ...core.files import discard_parts, link_or_copy, sha256_of, write_atomic
from ...core.manifest import FILE_NAME, Manifest, SourceFile, read_manifest
from ...core.naming import frame_name, saved_end
from ...core.plan import DubPlan
from .. import wire
from ..backoff import Backoff
from ..cancel import Cancelled
from ..connection import Connection, Endpoint
from .base import Task

log = logging.getLogger(__name__)
CONNECTING, RECONNECTING = "connecting", "reconnecting"
"""Phases of a job that seeks its server for the first time, or because it went away."""
PERMANENT = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNIMPLEMENTED"})


class DubTask(Task):
    """A dub that is running, or was; ends with one of JobFinished, JobCancelled and JobFailed, unless detached.

    Args:
        emit: receives events, in the job's thread.
        job_id: of a job that the server has already, "" to submit a new one.
        from_index: first frame to fetch; the first one missing in the folder when None.
        retry_for: seconds to wait for a server that went away.
    """

    FAULT = "The job stopped on an unexpected error"

    def __init__(
        self,
        endpoint: Endpoint,
        plan: DubPlan,
        emit: Callable[[Event], object],
        job_id: str = "",
        from_index: int | None = None,
        retry_for: float = 120.0,
    ) -> None:
        super().__init__(endpoint, plan.uid, emit)
        self.plan = plan
        self._job_id = job_id
        self._next = from_index
        self._detached = False
        self._backoff = Backoff(retry_for, self._cancel)
        self._info: ServerInfo | None = None
        self._sources: tuple[SourceFile, ...] = ()
        self._hashed = False
        self._manifest: Manifest | None = None
        self._begun = time.monotonic()
        self._had_all = False

    def cancel(self) -> None:
        """Stop here and on the server."""
        self._cancel.set()

    def detach(self) -> None:
        """Stop here only, without a further event; the server works on."""
        self._detached = True
        self._cancel.set()

    def _work(self) -> None:
        self._prepare()
        self._persist()

    def _prepare(self) -> None:
        plan = self.plan
        try:
            plan.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AddonError(
                f"The folder {plan.folder} cannot be made: {error.strerror}.", "Choose another folder."
            ) from error
        discard_parts(plan.folder)
        self._take_over()
        if self._next is None:
            self._next = saved_end(plan.folder, plan.first, plan.end)
        if self._next > plan.first:
            self._emit(FramesSaved(plan.uid, plan.first, self._next))
        if self._job_id and (plan.folder / FILE_NAME).exists():
            self._sources = read_manifest(plan.folder).sources

    def _take_over(self) -> None:
        """Frames that an older take has already."""
        for name in map(frame_name, self.plan.kept_frames()):
            self._cancel.check()
            assert self.plan.kept is not None
            link_or_copy(self.plan.kept.folder / name, self.plan.folder / name)

    def _persist(self) -> None:
        phase = CONNECTING
        while True:
            try:
                self._progress(phase)
                with Connection(self._endpoint, self._cancel) as connection:
                    self._advance(connection)
                return
            except AddonError as error:
                if not error.transient:
                    raise
                log.info("job %s: %s", self.plan.uid, error)
                self._backoff.pause(error)
                phase = RECONNECTING

    def _advance(self, connection: Connection) -> None:
        self._info = connection.info()
        self._backoff.answered()
        if self._job_id:
            try:
                return self._watch(connection)
            except AddonError as error:
                if error.code != "NOT_FOUND":
                    raise
        # Unknown to this server, or new: an equal request finds its frames again if they are there.
        assets = self._upload(connection)
        pose = self.plan.pose.turned(self._info.offered(self.plan.weights_id))
        self._begun = time.monotonic()
        dub = connection.submit(replace(self.plan, pose=pose), assets)
        self._had_all = dub.state == "done"
        self._accepted(dub)
        return self._watch(connection)

    def _upload(self, connection: Connection) -> dict[str, str]:
        if not self._hashed:
            self._sources = tuple(map(self._source, self.plan.sources()))
            self._hashed = True
        for source in self._sources:
            connection.upload(Path(source.file), source.sha256, self._uploaded)
        return {source.role: source.sha256 for source in self._sources}

    def _source(self, source: tuple[str, Path]) -> SourceFile:
        role, file = source
        return SourceFile(role, str(file), *sha256_of(sequences.ensure(file, self._cancel.check), self._cancel.check))

    def _uploaded(self, done: int, total: int) -> None:
        self._backoff.progressed()
        self._progress("uploading", done, total)

    def _watch(self, connection: Connection) -> None:
        assert self._next is not None
        for event in connection.watch(self.plan.uid, self._job_id, self._next):
            match event:
                case wire.Accepted():
                    self._accepted(event.dub)
                case wire.Frame():
                    self._save(event)
                case wire.Done():
                    self._done(event.dub)
                case JobWarning():
                    self._warned(event)
                case JobProgress():
                    self._emit(event)

    def _accepted(self, dub: wire.RemoteDub) -> None:
        if self._manifest is not None and self._manifest.job_id == dub.job_id:
            return
        self._job_id = dub.job_id
        offered = self._info.offered(dub.weights.weights_id) if self._info else None
        weights = replace(dub.weights, engine=offered.engine if offered else "")
        server = self._info.version if self._info else ""
        self._manifest = Manifest(self.plan, dub.job_id, self._sources, weights, server, created=time.time())
        self._manifest.write()
        self._emit(JobAccepted(self.plan.uid, dub.job_id, dub.weights.name, dub.weights.kind))

    def _save(self, frame: wire.Frame) -> None:
        if frame.index != self._next:
            raise AddonError(
                f"The server sent frame {frame.index} instead of {self._next}.", "Update the model server.", "DATA_LOSS"
            )
        write_atomic(self.plan.folder / frame_name(frame.index), frame.png)
        self._next = frame.index + 1
        self._backoff.progressed()
        self._emit(FramesSaved(self.plan.uid, frame.index, self._next))

    def _warned(self, warning: JobWarning) -> None:
        if self._manifest is not None and warning not in self._manifest.warnings:
            self._manifest = self._manifest.warned(warning)
            self._manifest.write()
        self._emit(warning)

    def _done(self, dub: wire.RemoteDub) -> None:
        if dub.state == "cancelled":
            self._end("cancelled")
            self._emit_last(JobCancelled(self.plan.uid, self._saved))
        elif dub.state != "done":
            raise AddonError(dub.error or "The server gave the job up; look at its log.")
        elif self._next != self.plan.end:
            raise AddonError(f"The server ended the dub at frame {self._next} of {self.plan.end}.", "Dub it again.")
        else:
            self._measure(dub)
            self._end("done")
            self._emit_last(JobFinished(self.plan.uid, self._saved))

    def _emit_last(self, event: Event) -> None:
        self.over = True
        self._emit(event)

    def _measure(self, dub: wire.RemoteDub) -> None:
        generated, seconds = 0 if self._had_all else dub.generated, round(time.monotonic() - self._begun, 3)
        if self._manifest is not None:
            self._manifest = replace(self._manifest, generated=generated, seconds=seconds)
        self._emit(JobMeasured(self.plan.uid, generated, seconds))

    @property
    def _saved(self) -> int:
        return (self._next or self.plan.first) - self.plan.first

    def _cancelled(self) -> None:
        if self._detached:
            return
        if self._job_id:
            self._cancel_remotely()
        self._end("cancelled")
        self._emit_last(JobCancelled(self.plan.uid, self._saved))

    def _cancel_remotely(self) -> None:
        try:
            with Connection(self._endpoint) as connection:
                connection.cancel(self._job_id, timeout=5.0)
        except (AddonError, Cancelled) as error:
            log.warning("job %s was not cancelled on the server: %s", self._job_id, error)

    def _failed(self, error: AddonError) -> None:
        self._end("failed", str(error))
        self._emit_last(JobFailed(self.plan.uid, str(error), error.code not in PERMANENT))

    def _end(self, state: str, error: str = "") -> None:
        """Note the end in the manifest, if the server ever accepted the job."""
        if self._manifest is None:
            return
        try:
            replace(self._manifest, state=state, error=error).write()
        except AddonError as problem:
            log.warning("job %s: %s", self.plan.uid, problem)
