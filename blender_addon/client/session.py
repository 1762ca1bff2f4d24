"""Background jobs: hash, upload, submit, watch and save, one thread per running job.

API draft, bodies follow. The thread writes frames and `manifest.json` into the
plan's folder; the main thread only calls `poll`.
"""

from __future__ import annotations

from ..core.events import Event
from ..core.plan import DubPlan
from .connection import Endpoint


class Session:
    """All jobs towards one endpoint. Every method returns at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        raise NotImplementedError

    def start(self, plan: DubPlan) -> None:
        """Begin a dub. The folder is created; events carry `plan.uid`."""
        raise NotImplementedError

    def resume(self, plan: DubPlan, job_id: str, from_index: int | None = None) -> None:
        """Go on fetching a job; from the first frame missing in the folder when `from_index` is None."""
        raise NotImplementedError

    def cancel(self, uid: str) -> None:
        """Stop a job here and on the server; ends with JobCancelled. Unknown uids are ignored."""
        raise NotImplementedError

    def running(self) -> frozenset[str]:
        """uids of jobs that have not ended."""
        raise NotImplementedError

    def check(self) -> None:
        """Handshake in the background; answers with Connected or Disconnected."""
        raise NotImplementedError

    def poll(self) -> list[Event]:
        """All events since the last call, oldest first; neighbouring FramesSaved are merged."""
        raise NotImplementedError

    def close(self) -> None:
        """Detach: threads end, jobs go on on the server. The session is over."""
        raise NotImplementedError
