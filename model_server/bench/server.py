"""A real `posedub serve` process under measurement: when it is ready, what its jobs take, how much memory it holds."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep

import psutil

from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.model import Ended, FrameMade, JobState
from model_server.pipeline.request import DubRequest
from model_server.service.remote import Address, RemoteServer

START_SECONDS = 120.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.01
SAMPLE_SECONDS = 0.05
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Course:
    """When a job's frames came, in seconds after it was asked for."""

    frames: tuple[float, ...]
    end: float


@dataclass
class Server:
    """A running server.

    Attributes:
        ready: seconds from the start of the process to the first answered call.
    """

    address: str
    client: RemoteServer
    ready: float
    process: psutil.Process

    def dub(self, request: DubRequest) -> Course:
        """Ask for a dub and take all its frames.

        Raises:
            PoseDubError: it failed, or a frame is missing.
        """
        start = perf_counter()
        came: list[float] = []
        job = self.client.submit(request)
        for event in self.client.events(job, request.first):
            if isinstance(event, FrameMade):
                came.append(perf_counter() - start)
            elif isinstance(event, Ended) and event.job.state is not JobState.DONE:
                raise PoseDubError(event.job.error or "The measured dub was cancelled; measure again.")
        if len(came) != request.end - request.first:
            raise PoseDubError(f"The server sent {len(came)} frames of {request.end - request.first}; see its log.")
        return Course(tuple(came), perf_counter() - start)

    def preview(self, request: DubRequest) -> float:
        """Seconds that somebody waits for the middle frame of a dub, shown without one."""
        start = perf_counter()
        self.client.preview(request.spec, request.spec.frame_count // 2)
        return perf_counter() - start

    def memory(self) -> float:
        """Resident memory of the process and its children, MiB."""
        return resident(self.process)


@contextlib.contextmanager
def running_server(data: Path, options: Sequence[str]) -> Iterator[Server]:
    """Start `posedub serve` on a free port of the loopback, and stop it.

    Args:
        data: its data folder; its log goes beside it.
        options: more of the command line, such as --weights.

    Raises:
        PoseDubError: it did not come up.
    """
    port = _free_port()
    command = [sys.executable, "-m", "model_server", "serve", "--port", str(port), "--data", str(data), *options]
    log = data.with_suffix(".log")
    with log.open("ab") as errors:
        start = perf_counter()
        process = subprocess.Popen(command, stderr=errors, env={**os.environ})
    try:
        _wait_until_open(port, process, start, log)
        address = f"127.0.0.1:{port}"
        with RemoteServer(Address(address)) as client:
            yield Server(address, client, perf_counter() - start, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def help_seconds() -> float:
    """What `posedub --help` takes, process and all."""
    start = perf_counter()
    subprocess.run([sys.executable, "-m", "model_server", "--help"], stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - start


@dataclass
class MemoryWatch:
    """Largest resident memory of a server while the block runs, MiB, sampled some 20 times a second."""

    server: Server
    before: float = 0.0
    peak: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> MemoryWatch:
        self.before = self.peak = self.server.memory()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self.server.memory())


def resident(process: psutil.Process) -> float:
    """Resident memory of a process and its children, MiB; those that end meanwhile do not count."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total / MEBIBYTE


def _wait_until_open(port: int, process: subprocess.Popen[bytes], start: float, log: Path) -> None:
    while process.poll() is None and perf_counter() - start < START_SECONDS:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        sleep(POLL_SECONDS)
    last = (log.read_text(errors="replace").strip().splitlines() or ["no word"])[-1]
    raise PoseDubError(f"The measured server did not start ({last}); run `posedub doctor`.", ErrorKind.UNAVAILABLE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
