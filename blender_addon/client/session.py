"""All jobs towards one server, in background threads that talk through a queue.

The threads write frames and `manifest.json` into each plan's folder. They never
touch Blender: the main thread calls `Session.poll` and acts on what it returns.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from ..core.errors import AddonError
from ..core.events import Connected, Disconnected, Event, FramesSaved, JobProgress
from ..core.faces import FacesRequest
from ..core.files import Digests
from ..core.plan import DubPlan, PoseRequest, SpeechPoseRequest
from .boundary import boundary
from .cancel import CancelToken
from .connection import Connection, Endpoint
from .tasks.base import Task
from .tasks.dub import DubTask
from .tasks.preview import EstimateQuery, PreviewQuery
from .tasks.query import FacesQuery, PoseQuery, SpeechPoseQuery

HANGING_UP_SECONDS = 1.0


class Session:
    """All jobs towards one endpoint. No method blocks.

    Args:
        retry_for: seconds that a job waits for a server that went away.
    """

    def __init__(self, endpoint: Endpoint, retry_for: float = 120.0) -> None:
        self.endpoint = endpoint
        self._retry_for = retry_for
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._jobs: dict[str, tuple[Task, threading.Thread]] = {}
        self._digests = Digests()
        self._check: threading.Thread | None = None
        self._closing = CancelToken()

    def start(self, plan: DubPlan) -> None:
        """Begin a dub; its events carry `plan.uid`. The folder is made if needed.

        Raises:
            AddonError: the first of `plan.problems()`, or a job of this uid runs already.
        """
        for problem in plan.problems():
            raise AddonError(problem)
        self._launch(plan, "", None)

    def resume(self, plan: DubPlan, job_id: str, from_index: int | None = None) -> None:
        """Go on fetching a job that the server has.

        Args:
            job_id: when the server does not know it, the plan is submitted again.
            from_index: first frame to fetch; the first one missing in the folder when None.

        Raises:
            AddonError: a job of this uid runs already.
        """
        self._launch(plan, job_id, from_index)

    def _launch(self, plan: DubPlan, job_id: str, from_index: int | None) -> None:
        if plan.uid in self.running() and not self._hung_up(plan.uid):
            raise AddonError(f"{plan.name} is being dubbed already.", "Wait for it, or cancel it.")
        self._run(plan.uid, DubTask(self.endpoint, plan, self._events.put, job_id, from_index, self._retry_for))

    def _hung_up(self, uid: str) -> bool:
        """Whether a job that has said its last word is gone now; it takes a moment."""
        job, thread = self._jobs[uid]
        if job.over:
            thread.join(HANGING_UP_SECONDS)
        return not thread.is_alive()

    def read_pose(self, request: PoseRequest) -> None:
        """Have the server read a pose; answers with PoseRead or PoseFailed, unless cancelled."""
        self._run(request.uid, PoseQuery(self.endpoint, request, self._events.put))

    def pose_from_speech(self, request: SpeechPoseRequest) -> None:
        """Have the server tell a pose from speech; answers with PoseRead or PoseFailed, unless cancelled."""
        self._run(request.uid, SpeechPoseQuery(self.endpoint, request, self._events.put))

    def estimate(self, plan: DubPlan) -> None:
        """Ask which of a plan's frames would be generated; answers with DubEstimated or PreviewFailed."""
        self._run(plan.uid, EstimateQuery(self.endpoint, plan, self._digests, self._events.put))

    def preview(self, plan: DubPlan, index: int) -> None:
        """Have one frame made at once, no job; answers with FramePreviewed or PreviewFailed."""
        self._run(plan.uid, PreviewQuery(self.endpoint, plan, index, self._digests, self._events.put))

    def find_faces(self, request: FacesRequest) -> None:
        """Have the server look for faces; answers with FacesFound or FacesFailed, unless cancelled."""
        self._run(request.uid, FacesQuery(self.endpoint, request, self._events.put))

    def _run(self, uid: str, job: Task) -> None:
        self._jobs = {uid: entry for uid, entry in self._jobs.items() if entry[1].is_alive()}
        thread = threading.Thread(target=job.run, name=f"posedub {uid}", daemon=True)
        self._jobs[uid] = (job, thread)
        thread.start()

    def cancel(self, uid: str) -> None:
        """Stop a job here and on the server; a dub ends with JobCancelled. An unknown uid is ignored."""
        if uid in self._jobs:
            self._jobs[uid][0].cancel()

    def leave(self, uid: str) -> None:
        """Stop a job here only, without a further event; the server works on. An unknown uid is ignored."""
        if uid in self._jobs:
            self._jobs[uid][0].detach()

    def running(self) -> frozenset[str]:
        """uids of the jobs that have not ended."""
        return frozenset(uid for uid, (_job, thread) in self._jobs.items() if thread.is_alive())

    def check(self, listed: Iterable[str] = ()) -> None:
        """Handshake; answers with Connected or Disconnected. One at a time.

        Args:
            listed: jobs whose takes are listed, which the server is to keep.
        """
        if self._check is None or not self._check.is_alive():
            kept = tuple(listed)
            self._check = threading.Thread(target=self._handshake, args=(kept,), name="posedub handshake", daemon=True)
            self._check.start()

    def _handshake(self, kept: tuple[str, ...]) -> None:
        with (
            boundary("handshake", "The connection could not be made", self._unreached),
            Connection(self.endpoint, self._closing) as connection,
        ):
            self._events.put(Connected(connection.info()))
            with suppress(AddonError):  # it is there; it will be told at the next handshake
                if kept:
                    connection.list(1, kept)

    def _unreached(self, error: AddonError) -> None:
        self._events.put(Disconnected(str(error)))

    def poll(self) -> list[Event]:
        """All events since the last call, oldest first; frames and progress of a job are merged."""
        events: list[Event] = []
        while True:
            try:
                events.append(self._events.get_nowait())
            except queue.Empty:
                return merged(events)

    def close(self, wait: float = 0.0) -> None:
        """Detach: the threads end, the jobs go on on the server.

        Args:
            wait: seconds to wait for the threads' end, in all.
        """
        self._closing.set()
        for job, _thread in self._jobs.values():
            job.detach()
        deadline = time.monotonic() + wait
        for thread in [*(thread for _job, thread in self._jobs.values()), *filter(None, [self._check])]:
            thread.join(max(0.0, deadline - time.monotonic()))


def merged(events: Iterable[Event]) -> list[Event]:
    """Join each run of FramesSaved, and of JobProgress, of a job into one event."""
    result: list[Event] = []
    open_runs: dict[tuple[type, str], int] = {}
    for event in events:
        if not isinstance(event, (FramesSaved, JobProgress)):
            open_runs.clear()
            result.append(event)
            continue
        at = open_runs.get((type(event), event.uid))
        joined = None if at is None else _joined(result[at], event)
        if at is None or joined is None:
            open_runs[type(event), event.uid] = len(result)
            result.append(event)
        else:
            result[at] = joined
    return result


def _joined(old: Event, new: Event) -> Event | None:
    if isinstance(old, FramesSaved) and isinstance(new, FramesSaved):
        return FramesSaved(new.uid, old.first, new.end) if old.end == new.first else None
    return new
