"""Processes that are ended: the server, what decodes for it, and a server that is asked to leave."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import psutil

from blender_addon.core.events import FramesSaved
from model_server.errors import PoseDubError
from model_server.service.remote import Address, RemoteServer
from tests.faults.lab import AddonDub, Frames, Lab, case, follow, one_sentence, same
from tests.servers import ServerProcess

FRAMES = 200


@case(100)
def kill_server(lab: Lab, count: int) -> str:
    """kill -9 at a random moment of a 200-frame job; by the command's client and by the add-on's in turn."""
    server = lab.server().start()
    kept, begun = [], time.monotonic()
    lab.frames(server, lab.request(lab.seed(), FRAMES))
    usual = time.monotonic() - begun
    for number in range(count):
        request = lab.request(lab.seed(), FRAMES)
        killer = threading.Timer(lab.random.uniform(0, 1.2 * usual), server.kill)
        addon = number % 2
        got, before = (_by_addon if addon else _by_command)(lab, server, request, killer)
        kept.append(before)
        expected = lab.expected_by_addon(request) if addon else lab.expected(request)
        assert got == expected, f"round {number}: other frames"
    server.stop()
    mid = sum(0 < one < FRAMES for one in kept)
    return f"all frames byte-identical; {mid} of {count} kills fell between the first and the last frame"


def _by_command(lab: Lab, server: ServerProcess, request, killer) -> tuple[Frames, int]:  # noqa: ANN001
    got: Frames = {}
    killer.start()
    try:
        lab.frames(server, request, got)
    except PoseDubError as error:
        one_sentence(error.message)
    killer.join()
    before = len(got)
    server.start()
    return lab.frames(server, request, got), before


def _by_addon(lab: Lab, server: ServerProcess, request, killer) -> tuple[Frames, int]:  # noqa: ANN001
    dub = AddonDub(server.address, lab.plan(request, lab.folder / f"take{request.spec.seed}"))
    killer.start()
    killer.join()
    before = sum(event.end - event.first for event in _seen(dub))
    server.start()
    frames = dub.frames()
    dub.close()
    return frames, min(before, FRAMES)


def _seen(dub: AddonDub) -> list[FramesSaved]:
    dub.events += dub._session.poll()
    return [event for event in dub.events if isinstance(event, FramesSaved)]


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
