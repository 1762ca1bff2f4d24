"""The jobs that run beside Blender's data.

One `Runtime` lives from the enabling of the add-on to its disabling. It is
used by the main thread only; panels read it, operators and `pump` change it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...client.connection import Endpoint
from ...client.session import Session
from ...core import scratch, sequences
from ...core.consent import Consents
from ...core.errors import AddonError, told
from ...core.events import (
    DubEstimated,
    FacesFailed,
    FramePreviewed,
    JobAccepted,
    JobEvent,
    JobFailed,
    JobMeasured,
    JobProgress,
    JobWarning,
    PoseFailed,
    PoseRead,
    PreviewFailed,
    QueryEvent,
)
from ...core.faces import FacesFound
from ...core.jobs import UNFINISHED, JobBook, JobRecord
from ...core.plan import DubPlan
from ...core.progress import ProgressMeter
from .. import preferences
from ..planning.scene_plan import Draft, kept_if_done
from ..sources import audio, media
from ..strips.job_strips import JobStrips
from .baking import Baker
from .face_search import FaceSearch
from .marking import RenderMarks
from .preview import Previews
from .server_link import Request, ServerLink
from .server_setup import ServerSetup
from .speech_pose import SpeechPoser
from .take_list import Takes

log = logging.getLogger(__name__)

SOUND_PHASE = "sound"
DAY = 86400.0
PHASES = {
    SOUND_PHASE: "Reading the sound",
    "connecting": "Connecting",
    "reconnecting": "The server went away; connecting again",
    "uploading": "Uploading",
    "queued": "Queued, {ahead} ahead",
    "weights": "Loading the weights",
    "compiling": "Compiling for this processor, once",
    "speech": "Listening to the speech",
    "portrait": "Looking at the portrait",
    "pose": "Reading the pose",
    "footage": "Following the face",
    "frames": "Making frames",
}


class Runtime:
    """The jobs of the open file.

    Attributes:
        link: to the model server.
        baker: of poses into keyframes.
        speech_poser: asks for poses that go with speech.
        previews: at the next dub, before it is made.
        takes: of the sound that is edited.
        faces: the people to choose from.
        marks: of renders that show dubs, and of takes.
        setup: of the server on this computer.
        consents: what was stated about the people shown.
        book: all jobs.
        strips: of the jobs.
        error: why the last operator failed, a sentence.
    """

    def __init__(self) -> None:
        self.link = ServerLink(lambda: [record.job_id for record in self.book if record.job_id])
        self.baker = Baker(self.link)
        self.faces = FaceSearch(self.link)
        self._cutter = ThreadPoolExecutor(1, "posedub sound")
        self.speech_poser = SpeechPoser(self.baker, self._cutter)
        self.previews = Previews(self.link, self._cutter)
        self._reader = ThreadPoolExecutor(1, "posedub takes")
        self.takes = Takes(self._reader)
        self.marks = RenderMarks()
        self.setup = ServerSetup(self._reader, self.link.stop_for_setup, self._set_up)
        self.consents = Consents(preferences.user_folder("consent") / "consent.json")
        self._reader.submit(scratch.tidy)
        self._reader.submit(sequences.tidy, preferences.user_folder(media.SEQUENCES), DAY)
        self._room_due = False
        self.book = JobBook()
        self.strips = JobStrips(self._strip_failed)
        self.error = ""
        self._meters: dict[str, ProgressMeter] = {}
        self._running: set[str] = set()
        self._broken: dict[str, str] = {}
        # Of events by their type; the others are of jobs, and `_apply` takes them.
        self._takers: dict[type, Callable[[Any], object]] = {
            JobProgress: self._progressed,
            JobMeasured: self._measured,
            **dict.fromkeys((PoseRead, PoseFailed), self.baker.end),
            **dict.fromkeys((FacesFound, FacesFailed), self.faces.end),
            **dict.fromkeys((DubEstimated, FramePreviewed, PreviewFailed), self.previews.end),
        }

    def start(self, draft: Draft) -> JobRecord:
        """Begin a dub; raises AddonError when no server may be reached."""
        with kept_if_done(draft.plan.folder):
            endpoint = self.link.reach()
        record = self.book.add(self._with_consent(draft.plan))
        record.phase = SOUND_PHASE
        self.strips.placements[draft.plan.uid] = draft.placement
        for remark in draft.remarks:
            at = remark.first - draft.placement.start, remark.end - draft.placement.start
            record.apply(JobWarning(draft.plan.uid, *at, "timeline", remark.text))
        speech = self._cutter.submit(audio.write_mix, draft.sound, draft.plan.speech.file) if draft.sound else None
        self._send_later(record, self._begin, endpoint, speech)
        return record

    def send(self, draft: Draft) -> JobRecord:
        """Begin a dub that is left to the server as soon as that has all of it; raises AddonError as `start`."""
        record = self.start(draft)
        record.sent = True
        return record

    def _with_consent(self, plan: DubPlan) -> DubPlan:
        """The plan with what was stated about whom it shows."""
        return replace(plan, consent=(self.consents.of(plan.person) or "") if plan.person else "")

    def restart(self, record: JobRecord) -> None:
        """Submit a job that ended again, into the same folder; raises AddonError."""
        for sentence in record.plan.problems():
            raise AddonError(sentence)
        self._renew(record, self._begin)

    def fetch(self, record: JobRecord) -> None:
        """Go on with a job that the server has; raises AddonError."""
        self._renew(record, self._resume)

    def _renew(self, record: JobRecord, how: Callable[[JobRecord, Session], None]) -> None:
        self._send_later(record, how, self.link.reach())
        self.strips.renew(record.plan.uid)
        record.state, record.error, record.phase = "starting", "", ""

    def _send_later(
        self,
        record: JobRecord,
        how: Callable[[JobRecord, Session], None],
        endpoint: Endpoint,
        speech: Future[None] | None = None,
    ) -> None:
        request = Request(endpoint, partial(how, record), partial(self._unsent, record), speech)
        self.link.send(record.plan.uid, request)

    def cancel(self, uid: str) -> None:
        """Stop a job; its finished frames stay."""
        record = self.book.get(uid)
        if self.link.withdraw(uid) and record:
            record.state = "cancelled"
            self.strips.note(uid, ended=True)
        self.link.cancel(uid)

    def left(self) -> list[JobRecord]:
        """Jobs of this file that a server has, and nobody here waits for."""
        return [one for one in self.book.unfinished() if one.job_id and not self.active(one.plan.uid)]

    def forget(self, uid: str) -> None:
        """Take a job off the list; its frames and strip stay."""
        self.book.remove(uid)
        self.strips.forget(uid)
        self._meters.pop(uid, None)

    def active(self, uid: str) -> bool:
        """Whether this Blender works on the job, or has yet to show its last frames."""
        return self.link.waits(uid) or uid in self._running or uid in self.strips

    @property
    def busy(self) -> bool:
        """Whether `pump` has anything to do."""
        jobs = self.link.sending or bool(self._running) or self.strips.busy
        asking = self.baker.busy or self.faces.busy or self.previews.busy or self.takes.busy
        return self.link.changing or asking or jobs or self.marks.busy or self.setup.busy

    def step(self, deadline: float) -> bool:
        """Do the main thread's work until `deadline`, time.monotonic(); whether anything changed."""
        parts: dict[str, Callable[[], bool]] = {
            "server": self._listen,
            "previews": self.previews.step,
            "requests": self.link.send_ready,
            "strips": partial(self._show, deadline),
            "room": self._make_room,
            "takes": self.takes.step,
            "marks": self.marks.step,
            "setup": self.setup.step,
        }
        changed = [self._part(name, work) for name, work in parts.items()]
        return any(changed)

    @property
    def fault(self) -> str:
        """What keeps the jobs from getting on, a sentence; "" when nothing does."""
        broken = next((self._broken[name] for name in ("server", "requests", "strips") if name in self._broken), "")
        return f"The dubs do not get on: {broken}. See Blender's console." if broken else ""

    def _part(self, name: str, work: Callable[[], bool]) -> bool:
        """Boundary of a part of the tick: what goes wrong in it stops no other part, and is logged once."""
        try:
            changed = work()
        except Exception as error:  # noqa: BLE001 - boundary: part of the timer's
            if self._broken.get(name) != repr(error):
                log.exception("%s", name)
            self._broken[name] = repr(error)
            return False
        self._broken.pop(name, None)
        return changed

    def _set_up(self) -> None:
        """A server was set up: start it, so that it tells what it can."""
        with suppress(AddonError):
            self.link.start_server()

    def _listen(self) -> bool:
        events, changed = self.link.step()
        for event in events:
            self._part(f"event of {event.uid}", partial(self._take, event))
        return changed or bool(events)

    def _take(self, event: JobEvent | QueryEvent) -> bool:
        self._takers.get(type(event), self._apply)(event)
        return True

    def _progressed(self, event: JobProgress) -> None:
        """Progress of a job, or of what was asked beside the jobs."""
        asker = next((one for one in (self.faces, self.baker) if event.uid in one), None)
        if asker:
            asker.progress(event)
        elif self._apply(event) and event.phase == "frames":
            self._meters.setdefault(event.uid, ProgressMeter()).note(event.done, time.monotonic())

    def _measured(self, event: JobMeasured) -> None:
        if self._apply(event) and event.generated:
            self.previews.speed = event.seconds / event.generated

    def _make_room(self) -> bool:
        """When a job has ended and its strip is there: keep within the limit of the preferences."""
        due = self._room_due and not self.strips.ending
        if due:
            self._room_due = False
            self.takes.outdated()
            if limit := preferences.cache_limit():
                self.takes.make_room(limit, self.busy_folders())
        return due

    def busy_folders(self) -> set[Path]:
        """Folders that jobs write, or take frames from."""
        plans = [record.plan for record in self.book if record.state in UNFINISHED or self.active(record.plan.uid)]
        folders = [folder for plan in plans for folder in (plan.folder, plan.kept and plan.kept.folder) if folder]
        return {folder.resolve() for folder in folders}

    def _begin(self, record: JobRecord, session: Session) -> None:
        session.start(record.plan)
        self._running.add(record.plan.uid)

    def _resume(self, record: JobRecord, session: Session) -> None:
        session.resume(record.plan, record.job_id)
        self._running.add(record.plan.uid)

    def _unsent(self, record: JobRecord, error: Exception) -> None:
        sentence = str(told(f"The sound of {record.plan.name} could not be read", error))
        self._apply(JobFailed(record.plan.uid, sentence, retryable=record.plan.speech.file.is_file()))

    def _apply(self, event: JobEvent) -> bool:
        """Take over what happened to a job; whether it is in the book."""
        record = self.book.apply(event)
        if record is None:
            return False
        if record.sent and isinstance(event, JobAccepted):
            self._leave(record)
            return True
        ended = record.state not in UNFINISHED
        self.strips.note(event.uid, ended)
        if ended:
            self._running.discard(event.uid)
            self.previews.outdated()
            self._room_due = True
            if record.state == "done" and preferences.mark_renders():
                self.marks.take(record.plan.folder)
        return True

    def _leave(self, record: JobRecord) -> None:
        """A job that was sent is the server's from now on; `fetch` goes on with it."""
        record.sent = False
        self.link.leave(record.plan.uid)
        self._running.discard(record.plan.uid)

    def _show(self, deadline: float) -> bool:
        return self.strips.show(self.book, self._running, deadline)

    def _strip_failed(self, event: JobFailed) -> None:
        self._apply(event)
        self.link.cancel(event.uid)

    def recheck_strips(self) -> None:
        """After an undo or redo: bring strips up to date."""
        self.strips.recheck(self.book.records)

    def progress(self, record: JobRecord) -> tuple[float, str]:
        """(share done in [0, 1], phase, or count with speed and time left) of a running job."""
        meter = self._meters.get(record.plan.uid)
        if record.phase == "frames" and meter:
            return record.saved / record.plan.frames_wanted, meter.text(record.total, time.monotonic())
        share = record.done / record.total if record.total else 0.0
        return share, PHASES.get(record.phase, "Starting").format(ahead=record.queue_position)

    def detach(self) -> None:
        """Leave all jobs to the server and forget them, as when another file is opened."""
        self.link.detach()
        for jobs in (self._running, self._meters, self.strips):
            jobs.clear()
        self.baker.clear()
        self.previews.clear()
        self.takes.clear()
        self.faces.clear()
        self.book, self.error = JobBook(), ""

    def close(self) -> None:
        """The end of the add-on, or of Blender."""
        self.detach()
        self.previews.close()
        self.marks.close()
        self.setup.close()
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._cutter.shutdown(wait=False, cancel_futures=True)
        self.link.close()


_current: Runtime | None = None


def current() -> Runtime:
    """The one Runtime, made on first use."""
    global _current
    if _current is None:
        _current = Runtime()
    return _current


def close() -> None:
    """End the one Runtime."""
    global _current
    if _current is not None:
        _current.close()
        _current = None
