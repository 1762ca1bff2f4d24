"""The data folder: torn by a power cut, used by two servers, pruned while it works; and a device without memory."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from model_server.jobs.model import JobState
from model_server.jobs.retention import verify
from model_server.jobs.store import Store
from model_server.service.remote import Address, RemoteServer
from tests.faults.lab import Lab, case, follow, one_sentence, same
from tests.jobs.test_retention import made

# SQLite's write-ahead log: a header, then frames of a header and a page each (sqlite.org/fileformat.html).
_WAL_HEADER, _WAL_FRAME = 32, 24 + 4096


@case(50)
def torn_database(lab: Lab, count: int) -> str:
    """A power cut after each of the last 50 writes, and within each: the list opens with what was committed."""
    data = lab.folder / "torn"
    store = Store(data)
    known = [made(store, seed, frames=4) for seed in range(20)]
    log = data / "posedub.sqlite-wal"
    whole = log.read_bytes()
    frames = (len(whole) - _WAL_HEADER) // _WAL_FRAME
    before, tried = -1, 0
    for kept in range(max(0, frames - count), frames + 1):
        for torn in (0, 700, _WAL_FRAME - 1):
            end = min(len(whole), _WAL_HEADER + kept * _WAL_FRAME + torn)
            found = _jobs_after_cut(lab, data, whole[:end])
            assert found >= before, (kept, torn, found, before)
            before, tried = max(before, found), tried + 1
    assert before == len(known)
    for size in (0, 10, 4000):
        _damaged_main_file(lab, data, size)
    return f"{tried} cuts: each list opened, no dub that was there before was lost; 3 torn files put aside"


def _jobs_after_cut(lab: Lab, data: Path, log: bytes) -> int:
    """How many jobs a store shows that was cut off in its log; its frames are whole or made anew."""
    cut = lab.folder / "cut"
    shutil.rmtree(cut, ignore_errors=True)
    (cut / "blobs").mkdir(parents=True)
    shutil.copy(data / "posedub.sqlite", cut / "posedub.sqlite")
    (cut / "posedub.sqlite-wal").write_bytes(log)
    for entry in (data / "blobs").iterdir():
        shutil.copytree(entry, cut / "blobs" / entry.name, copy_function=_link, dirs_exist_ok=True)
    store = Store(cut)
    jobs = store.jobs()
    for job in jobs:
        if job.state is JobState.DONE:
            assert len(store.frames(job.id, 0, 9)) == 4
    assert not verify(store).damaged
    store._database.connection().close()
    return len(jobs)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _damaged_main_file(lab: Lab, data: Path, size: int) -> None:
    cut = lab.folder / "cut"
    shutil.rmtree(cut, ignore_errors=True)
    cut.mkdir()
    (cut / "posedub.sqlite").write_bytes((b"SQLite format 3\0" + b"\xff" * 8000)[:size])
    store = Store(cut)
    assert made(store, 1) and len(store.jobs()) == 1
    store._database.connection().close()


@case(20)
def two_servers(lab: Lab, count: int) -> str:
    """Two servers on one store: each job is made once, by one of them, and either shows all."""
    data = lab.folder / "shared"
    one, other = lab.server(data).start(), lab.server(data)
    other.log = lab.folder / "other.log"
    other.start()
    requests = [lab.request(lab.seed(), 60) for _ in range(count)]
    jobs = []
    for number, request in enumerate(requests):
        with RemoteServer(Address((one, other)[number % 2].address)) as remote:
            jobs.append(lab.submit(remote, request))
    for number, (job, request) in enumerate(zip(jobs, requests, strict=True)):
        with RemoteServer(Address((other, one)[number % 2].address)) as remote:
            same(follow(remote, job, {}), lab.expected(request))
    began = [server.log.read_text().count(": started") for server in (one, other)]
    for server in (one, other):
        server.stop()
    assert sum(began) == count, began
    return f"{began[0]} and {began[1]} jobs made, none twice; byte-identical from either"


@case(10)
def pruned_meanwhile(lab: Lab, count: int) -> str:
    """`posedub store prune` and `verify` go on all the time while jobs are made."""
    server, stop = lab.server().start(), threading.Event()
    keeper = threading.Thread(target=_prune, args=(server.data, stop), name="Thread-pruning")
    keeper.start()
    for _ in range(count):
        request = lab.request(lab.seed(), 100)
        same(lab.frames(server, request), lab.expected(request))
    stop.set()
    keeper.join()
    server.stop()
    return "byte-identical"


def _prune(data: Path, stop: threading.Event) -> None:
    from model_server.jobs.retention import Limits, prune

    store = Store(data)
    while not stop.is_set():
        prune(store, Limits(1, 1.0))
        verify(store)
    store._database.connection().close()


@case(5)
def no_device_memory(lab: Lab, count: int) -> str:
    """A device (a false one) runs out of memory in mid job: a sentence, and the next job is made."""
    server = lab.server(program=["-m", "tests.faults.posedub"], POSEDUB_FAULT="memory").start()
    sentences = set()
    for _ in range(count):
        request = lab.request(lab.seed(), 60)
        with RemoteServer(Address(server.address)) as remote:
            job = lab.submit(remote, request)
            got: dict[int, bytes] = {}
            try:
                follow(remote, job, got)
                raise AssertionError("nothing was said")
            except AssertionError as error:
                sentences.add(one_sentence(str(error)))
            same(follow(remote, remote.submit(request), got), lab.expected(request))
    server.stop()
    return f"“{' '.join(sentences)}”; asked again: byte-identical"
