"""Disks that are full before, while and after a dub, and are freed then."""

from __future__ import annotations

import os
from pathlib import Path

from model_server.errors import PoseDubError
from model_server.service.remote import Address, RemoteServer
from tests.cli.commands import ended
from tests.faults.lab import Lab, case, follow, one_sentence, same, small_disk

MIB = 2**20
# The server leaves 256 MiB of any disk alone.
RESERVE = 256 * MIB


def fill(folder: Path, leave: int) -> Path:
    """A file that takes the disk's space but for `leave` bytes."""
    path = folder / "filler"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - leave))
    return path


@case()
def disk_full_before(lab: Lab, count: int) -> str:
    """A store on a full disk says so before any work, and works once it is freed."""
    with small_disk(lab.folder / "disk", 400 * MIB) as disk:
        server, request = lab.server(disk / "data").start(), lab.request(lab.seed())
        filler = fill(disk, RESERVE - 20 * MIB)
        try:
            lab.frames(server, request)
            raise AssertionError("nothing was said")
        except PoseDubError as error:
            sentence = one_sentence(error.message)
        filler.unlink()
        same(lab.frames(server, request), lab.expected(request))
        server.stop()
    return f"“{_without(sentence, lab)}”; freed: byte-identical"


@case(3)
def disk_full_while(lab: Lab, count: int) -> str:
    """The disk fills up while frames are written: what is committed stays; the same dub goes on once it is freed."""
    sentences = set()
    with small_disk(lab.folder / "disk", 300 * MIB) as disk:
        server = lab.server(disk / "data").start()
        for _ in range(count):
            request, got = lab.request(lab.seed(), 1500), {}
            with RemoteServer(Address(server.address)) as remote:
                job = lab.submit(remote, request)
                events = remote.events(job)
                next(event for event in events if type(event).__name__ == "FrameMade")
                filler = fill(disk, 64 * 1024)
                try:
                    follow(remote, job, got)
                    raise AssertionError("nothing was said")
                except (PoseDubError, AssertionError) as error:
                    sentences.add(_without(one_sentence(str(error)), lab))
                events.close()
            kept = len(got)
            filler.unlink()
            same(lab.frames(server, request, got), lab.expected(request))
            assert kept
        server.stop()
    return f"“{' '.join(sentences)}”; freed: byte-identical, the frames before it kept"


@case()
def disk_full_after(lab: Lab, count: int) -> str:
    """A dub that is done is read from a full disk, and the command that can write nothing says one sentence."""
    with small_disk(lab.folder / "disk", 300 * MIB) as disk:
        server, request = lab.server(disk / "data").start(), lab.request(lab.seed())
        lab.frames(server, request)
        filler = fill(disk, 0)
        same(lab.frames(server, request), lab.expected(request))
        words = ["dub", "--audio", lab.speech, "--weights", lab.weights, "--size", 64, "--range", "0:4"]
        done = ended([*words, "--server", server.address, "--out", disk / "out"], lab.environment)
        assert done.returncode == 1
        sentence = one_sentence(done.stderr.strip().splitlines()[-1])
        filler.unlink()
        done = ended([*words, "--server", server.address, "--out", disk / "out"], lab.environment)
        assert done.returncode == 0, done.stderr
        server.stop()
    return f"read from the full disk; “{_without(sentence, lab)}”; freed: done"


def _without(sentence: str, lab: Lab) -> str:
    return sentence.replace(str(lab.folder), "")
