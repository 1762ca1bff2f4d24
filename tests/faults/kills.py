"""Processes that are ended: the server, what decodes for it, and a server that is asked to leave."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, suppress

import psutil

from blender_addon.core.events import JobAccepted
from model_server.errors import PoseDubError
from model_server.jobs.model import JobState
from model_server.pipeline.request import DubRequest
from model_server.service.remote import Address, RemoteServer
from tests.faults.lab import AddonDub, Frames, Lab, case, follow, one_sentence, same
from tests.servers import ServerProcess

FRAMES = 200


@case(100)
def kill_server(lab: Lab, count: int) -> str:
    """kill -9 at a random moment of a 200-frame job; by the command's client and by the add-on's in turn."""
    server = lab.paced_server(0.005).start()
    usual = _usual(lab, server)
    inside = 0
    for number in range(count):
        request = lab.request(lab.seed(), FRAMES)
        moment = usual * (number + lab.random.random()) / count
        by, expected = (_by_addon, lab.expected_by_addon) if number % 2 else (_by_command, lab.expected)
        got, hit = by(lab, server, request, moment)
        same(got, expected(request))
        inside += hit
    server.stop()
    assert inside >= 0.6 * count, f"only {inside} of {count} kills fell inside the job"
    return f"all frames byte-identical; {inside} of {count} kills fell inside the job, which takes {usual:.1f} s"


def _usual(lab: Lab, server: ServerProcess) -> float:
    """Seconds that a job takes from its submission on, on a server that was killed before it, as each of these was."""
    taken = []
    for _ in range(3):
        server.kill()
        server.start()
        with RemoteServer(Address(server.address)) as remote:
            job, begun = lab.submit(remote, lab.request(lab.seed(), FRAMES)), time.monotonic()
            follow(remote, job, {})
        taken.append(time.monotonic() - begun)
    return min(taken)


def _killed(server: ServerProcess, job: str) -> bool:
    """Kill it; whether the job was not over then."""
    server.kill()
    with closing(sqlite3.connect(server.data / "posedub.sqlite")) as listed:
        ((state,),) = listed.execute("SELECT state FROM job WHERE id = ?", (job,))
    return JobState(state) in (JobState.QUEUED, JobState.RUNNING)


def _by_command(lab: Lab, server: ServerProcess, request: DubRequest, moment: float) -> tuple[Frames, bool]:
    got: Frames = {}
    inside: list[bool] = []
    with RemoteServer(Address(server.address)) as remote:
        job = lab.submit(remote, request)
        killer = threading.Timer(moment, lambda: inside.append(_killed(server, job.id)))
        killer.start()
        try:
            follow(remote, job, got)
        except PoseDubError as error:
            one_sentence(error.message)
        killer.join()
    server.start()
    return lab.frames(server, request, got), inside[0]


def _by_addon(lab: Lab, server: ServerProcess, request: DubRequest, moment: float) -> tuple[Frames, bool]:
    dub = AddonDub(server.address, lab.plan(request, lab.folder / f"take{request.spec.seed}"))
    job = dub.wait(lambda event: isinstance(event, JobAccepted))
    time.sleep(moment)
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
