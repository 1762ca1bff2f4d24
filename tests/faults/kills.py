"""Processes that are ended: the server, what decodes for it, and a server that is asked to leave."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, suppress
from typing import NamedTuple

import psutil

from blender_addon.core.events import JobAccepted
from model_server.errors import PoseDubError
from model_server.jobs.model import JobState
from model_server.pipeline.request import DubRequest
from model_server.service.remote import Address, RemoteServer
from tests.faults.lab import AddonDub, Frames, Lab, case, follow, one_sentence, same
from tests.servers import ServerProcess

FRAMES = 200
DELAY = 0.25
"""Seconds in which frames are committed together: kills come at all times of that, too."""


@case(100)
def kill_server(lab: Lab, count: int) -> str:
    """kill -9 at a random moment of a 200-frame job; by the command's client and by the add-on's in turn."""
    server = lab.paced_server(0.01).start()
    inside = 0
    for number in range(count):
        request = lab.request(lab.seed(), FRAMES)
        moment = Moment(int(FRAMES * (number + lab.random.random()) / count), DELAY * lab.random.random())
        by, expected = (_by_addon, lab.expected_by_addon) if number % 2 else (_by_command, lab.expected)
        got, hit = by(lab, server, request, moment)
        same(got, expected(request))
        inside += hit
    server.stop()
    assert inside >= 0.6 * count, f"only {inside} of {count} kills fell inside the job"
    return f"all frames byte-identical; {inside} of {count} kills fell inside the job"


class Moment(NamedTuple):
    """When a client has so many frames, and some seconds later: however quick the computer is, all of a job is met."""

    frames: int
    delay: float


def _killed(server: ServerProcess, job: str) -> bool:
    """Kill it; whether the job was not over then."""
    server.kill()
    with closing(sqlite3.connect(server.data / "posedub.sqlite")) as listed:
        ((state,),) = listed.execute("SELECT state FROM job WHERE id = ?", (job,))
    return JobState(state) in (JobState.QUEUED, JobState.RUNNING)


def _by_command(lab: Lab, server: ServerProcess, request: DubRequest, moment: Moment) -> tuple[Frames, bool]:
    got: Frames = {}
    inside: list[bool] = []
    with RemoteServer(Address(server.address)) as remote:
        job = lab.submit(remote, request)

        def kill() -> None:
            while len(got) < moment.frames:
                time.sleep(0.001)
            time.sleep(moment.delay)
            inside.append(_killed(server, job.id))

        killer = threading.Thread(target=kill, name="Thread-killer")
        killer.start()
        try:
            follow(remote, job, got)
        except PoseDubError as error:
            one_sentence(error.message)
        killer.join()
    server.start()
    return lab.frames(server, request, got), inside[0]


def _by_addon(lab: Lab, server: ServerProcess, request: DubRequest, moment: Moment) -> tuple[Frames, bool]:
    dub = AddonDub(server.address, lab.plan(request, lab.folder / f"take{request.spec.seed}"))
    job = dub.wait(lambda event: isinstance(event, JobAccepted))
    if moment.frames:
        dub.wait(lambda event: len(list(dub.plan.folder.glob("*.png"))) >= moment.frames)
    time.sleep(moment.delay)
    inside = _killed(server, job.job_id)
    server.start()
    frames = dub.frames()
    dub.close()
    return frames, inside


@case(10)
def kill_decoders(lab: Lab, count: int) -> str:
    """The processes that read media are killed while jobs need them: a sentence, or the frames; never the server."""
    server, sentences = lab.server().start(), 0
    for _ in range(count):
        request = lab.request(lab.seed(), 100)
        stop = threading.Event()
        striker = threading.Thread(target=_strike, args=(server, stop), name="Thread-striker")
        striker.start()
        try:
            got = lab.frames(server, request)
        except (PoseDubError, AssertionError) as error:
            one_sentence(str(error))
            sentences += 1
            got = {}
        stop.set()
        striker.join()
        same(lab.frames(server, request, got), lab.expected(request))
    server.stop()
    return f"{sentences} ended in a sentence, all byte-identical when asked again"


def _strike(server: ServerProcess, stop: threading.Event) -> None:
    while not stop.is_set():
        for child in psutil.Process(server.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        time.sleep(0.002)


@case(5)
def sigterm_drain(lab: Lab, count: int) -> str:
    """SIGTERM in mid job: the server leaves in order with exit code 0, the next one ends the job."""
    server, slowest = lab.server().start(), 0.0
    for _ in range(count):
        request, got = lab.request(lab.seed(), 2000), {}
        with RemoteServer(Address(server.address)) as remote:
            job, events = lab.submit(remote, request), None
            events = remote.events(job)
            next(event for event in events if type(event).__name__ == "FrameMade")
            begun = time.monotonic()
            assert server.stop() == 0
            slowest = max(slowest, time.monotonic() - begun)
            events.close()
        server.start()
        with RemoteServer(Address(server.address)) as remote:
            follow(remote, job, got)
        same(got, lab.expected(request))
    server.stop()
    return f"exit code 0 within {slowest:.1f} s, jobs ended by the next server, byte-identical"
