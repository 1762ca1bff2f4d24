"""Clients that are slow, vanish, freeze or sleep, and many at once."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc

from model_server.service import rpc
from model_server.service.remote import Address, RemoteServer
from model_server.service.stubs import dubbing_pb2 as dubbing
from tests.faults.lab import AddonDub, Lab, case, follow, same

OTHERS_SLOWER = 3.0


class Relay:
    """A connection's middle, that lets through so many bytes a second, or nothing while it is closed."""

    def __init__(self, port: int, rate: float = float("inf")) -> None:
        self._to, self.rate = port, rate
        self.open = threading.Event()
        self.open.set()
        self._ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, name="Thread-relay", daemon=True)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select.select([self._socket], [], [], 0.2)[0]:
                ours, theirs = self._socket.accept()[0], socket.create_connection(("127.0.0.1", self._to))
                for one, other, slow in ((ours, theirs, False), (theirs, ours, True)):
                    thread = threading.Thread(target=self._pass, args=(one, other, slow), name="Thread-relay")
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, one: socket.socket, other: socket.socket, slow: bool) -> None:
        try:
            while not self._ended.is_set():
                if not self.open.wait(0.2) or not select.select([one], [], [], 0.2)[0]:
                    continue
                piece = one.recv(1024 if slow and self.rate < 1e9 else 1 << 16)
                if not piece:
                    break
                other.sendall(piece)
                if slow:
                    self._ended.wait(len(piece) / self.rate)
        except OSError:
            pass
        for end in (one, other):
            end.close()

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()


@case()
def slow_reader(lab: Lab, count: int) -> str:
    """A client that reads 1 KB/s holds nobody up, and gets all frames in the end."""
    server = lab.server().start()
    slow_request, others = lab.request(lab.seed(), 400), [lab.request(lab.seed(), 200) for _ in range(6)]
    alone = _seconds(lambda: [lab.frames(server, one) for one in others[:3]])
    relay = Relay(server.port, 1024)
    dub = AddonDub(relay.address, lab.plan(slow_request, lab.folder / "slow"))
    dub.wait(lambda event: type(event).__name__ == "JobAccepted")
    beside = _seconds(lambda: [lab.frames(server, one) for one in others[3:]])
    relay.rate = float("inf")
    same(dub.frames(), lab.expected_by_addon(slow_request))
    dub.close()
    relay.close()
    server.stop()
    assert beside < OTHERS_SLOWER * alone + 1, (beside, alone)
    return f"3 jobs of others took {beside:.1f} s beside it, {alone:.1f} s alone; its frames byte-identical"


def _seconds(work) -> float:  # noqa: ANN001
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _reader(lab: Lab, address: str, job: str) -> subprocess.Popen:
    """Another process that follows a job and tells each frame's index."""
    code = (
        "import sys, grpc\n"
        "from model_server.service import rpc\n"
        "from model_server.service.stubs import dubbing_pb2 as d\n"
        "with grpc.insecure_channel(sys.argv[1]) as channel:\n"
        "    for one in rpc.Stub(channel).WatchDub(d.WatchDubRequest(job_id=sys.argv[2])):\n"
        "        if one.WhichOneof('event') == 'frame': print(one.frame.index, flush=True)\n"
    )
    environment = {**os.environ, **lab.environment}
    return subprocess.Popen([sys.executable, "-c", code, address, job], stdout=subprocess.PIPE, env=environment)


@case(5)
def vanished_client(lab: Lab, count: int) -> str:
    """A client that is killed while it reads: the job goes on to its end."""
    server = lab.server().start()
    for _ in range(count):
        request = lab.request(lab.seed(), 600)
        with RemoteServer(Address(server.address)) as remote:
            job = lab.submit(remote, request)
            reader = _reader(lab, server.address, job.id)
            reader.stdout.readline()
            reader.kill()
            reader.wait()
            reader.stdout.close()
            same(follow(remote, job, {}), lab.expected(request))
    server.stop()
    return "jobs ended, byte-identical"


@case()
def frozen_client(lab: Lab, count: int) -> str:
    """A client that is stopped (SIGSTOP) for 40 s: others go on, and it reads all frames when it goes on."""
    server = lab.server().start()
    request = lab.request(lab.seed(), 3000)
    with RemoteServer(Address(server.address)) as remote:
        job = lab.submit(remote, request)
        reader = _reader(lab, server.address, job.id)
        reader.stdout.readline()
        reader.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        other = lab.request(lab.seed(), 100)
        same(lab.frames(server, other), lab.expected(other))
        same(follow(remote, job, {}), lab.expected(request))
        time.sleep(max(0.0, 40 - (time.monotonic() - begun)))
        reader.send_signal(signal.SIGCONT)
        read = reader.stdout.read().split()
        code = reader.wait()
    reader.stdout.close()
    server.stop()
    how = "it was dropped and would ask again" if code else "it read on to the end"
    return f"others and the job itself ended meanwhile, byte-identical; {len(read) + 1} of 3000 frames read: {how}"


@case()
def suspended_client(lab: Lab, count: int) -> str:
    """The add-on's computer sleeps 45 s in mid job, its connection is gone: it goes on by itself."""
    server = lab.server().start()
    request = lab.request(lab.seed(), 3000)
    relay = Relay(server.port, 400_000)
    dub = AddonDub(relay.address, lab.plan(request, lab.folder / "suspended"))
    dub.wait(lambda event: type(event).__name__ == "FramesSaved")
    relay.open.clear()
    time.sleep(45)
    relay.rate = float("inf")
    relay.open.set()
    same(dub.frames(), lab.expected_by_addon(request))
    dub.close()
    relay.close()
    server.stop()
    return "all frames byte-identical"


@case(1000)
def concurrent_streams(lab: Lab, count: int) -> str:
    """So many clients follow one job at once; each gets every frame."""
    server, request = lab.server().start(), lab.request(lab.seed(), 20)
    expected = lab.expected(request)
    with RemoteServer(Address(server.address)) as remote:
        job = lab.submit(remote, request)
    begun = time.monotonic()
    read = asyncio.run(_all_read(server.address, job.id, count))
    seconds = time.monotonic() - begun
    assert all(one == expected for one in read)
    server.stop()
    return f"all {count} read all frames in {seconds:.0f} s"


async def _all_read(address: str, job: str, count: int) -> list[dict[int, bytes]]:
    channels = [grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(20)]
    read = await asyncio.gather(*(_read(channels[k % len(channels)], job) for k in range(count)))
    for channel in channels:
        await channel.close()
    return read


async def _read(channel: grpc.aio.Channel, job: str) -> dict[int, bytes]:
    frames: dict[int, bytes] = {}
    async for message in rpc.Stub(channel).WatchDub(dubbing.WatchDubRequest(job_id=job)):
        if message.WhichOneof("event") == "frame":
            frames[message.frame.index] = frames.get(message.frame.index, b"") + message.frame.png
    return frames
