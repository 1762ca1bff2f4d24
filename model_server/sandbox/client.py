"""Calling functions in processes that may read one file and nothing else.

A function gets the file's path first. What it returns, or yields, are plain values, arrays, or pairs of both; see
`channel`. A generator function may get `Asked` among its arguments: an iterator of what `answered` asks for.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

import model_server
from model_server.errors import ErrorKind, PoseDubError
from model_server.sandbox import limits
from model_server.sandbox.channel import END, FAILED, REFUSED, Channel, UnsoundMessage

# Seconds between two looks at whether anybody still waits, and at what the process does.
_LOOK_SECONDS = 0.2
# What is asked for before it is waited for, where it is known: the process then works while its last answer is used.
_AHEAD = 2
# Loaded once, before any file is known; `prepare` of a module loads the rest.
_LOADED = ("model_server.pipeline.media.sandboxed", "model_server.pipeline.speech.sandboxed")
# More threads than the few that decode would only wait; and each thread's heap counts as memory in use.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "4"}
_MOST_SAID = 4000
log = logging.getLogger(__name__)


def _never() -> bool:
    return False


def begin() -> None:
    """Have the first process ready when it is needed."""
    if limits.available():
        _server.start()


def answer(work: Callable[..., Any], file: Path, *arguments: Any, cancelled: Callable[[], bool] = _never) -> Any:
    """What `work(file, *arguments)` returns; a pair of a value and an array, of which either may be None.

    Raises:
        PoseDubError: the work's own, or the process went beyond its limits, ended, or was cancelled.
    """
    answers_of = answers(work, file, *arguments, cancelled=cancelled)
    try:
        while True:
            next(answers_of)
    except StopIteration as stop:
        return stop.value


def answers(
    work: Callable[..., Any], file: Path, *arguments: Any, cancelled: Callable[[], bool] = _never
) -> Generator[Any, None, Any]:
    """What a generator function yields, as pairs; the generator returns the last pair. Raises as `answer`."""
    process = _Process(work, file, arguments)
    try:
        while True:
            kind, value = process.next(cancelled)
            if kind == END:
                return value
            yield value
    finally:
        process.end()


def answered(
    work: Callable[..., Any],
    file: Path,
    asked: Iterable[int],
    *arguments: Any,
    cancelled: Callable[[], bool] = _never,
) -> Iterator[Any]:
    """What a generator function yields for each of `asked`, which its argument `Asked` iterates; else as `answers`."""
    ahead = _AHEAD if isinstance(asked, Sequence) else 1
    questions, waiting = iter(asked), 0
    process = _Process(work, file, arguments)
    try:
        while True:
            for one in islice(questions, ahead - waiting):
                process.ask(one)
                waiting += 1
            if not waiting:
                return
            kind, value = process.next(cancelled)
            if kind == END:
                return
            waiting -= 1
            yield value
    finally:
        process.end()


class _ForkServer:
    """This process's own fork server, started when first needed and again if it was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Have it run."""
        with self._lock:
            self._started()

    def channel(self) -> Channel:
        """One to a new process."""
        for _ in range(2):
            ours, theirs = socket.socketpair()
            with theirs, self._lock, suppress(BrokenPipeError, ConnectionError):
                socket.send_fds(self._started(), [b"f"], [theirs.fileno()])
                return Channel(ours)
            ours.close()
            self.stop()
        raise PoseDubError("Processes that read media cannot be started; see the log.", ErrorKind.UNAVAILABLE)

    def _started(self) -> socket.socket:
        if self._control and self._process and self._process.poll() is None:
            return self._control
        self._forget()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            handle = theirs.fileno()
            command = [sys.executable, "-m", "model_server.sandbox.fork_server", str(handle), *_LOADED]
            places = [str(Path(model_server.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
            environment = os.environ | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, places))}
            self._process = subprocess.Popen(
                command, pass_fds=[handle], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        return self._control

    def _forget(self) -> None:
        if self._control:
            self._control.close()
        if self._process:
            self._process.wait()
        self._control = self._process = None

    def stop(self) -> None:
        """End it, as it ends with this process."""
        with self._lock:
            self._forget()


_server = _ForkServer()
atexit.register(_server.stop)


def printable(text: str, also: str = "") -> str:
    """What an untrusted process says, without what steers terminals, and no more than a page of it."""
    return "".join(one if one.isprintable() or one in also else "?" for one in text[:_MOST_SAID])


def _refusal(message: object, kind: str) -> PoseDubError:
    return PoseDubError(printable(str(message)), ErrorKind(kind))


class _Process:
    """One process at work on one file."""

    def __init__(self, work: Callable[..., Any], file: Path, arguments: Sequence[Any]) -> None:
        self._name = file.name
        self._channel = _server.channel()
        self._process: psutil.Process | None = None
        self._used = 0.0
        try:
            pid, _ = self._received()
            with suppress(psutil.Error):
                self._process = psutil.Process(pid)
            self._channel.send((work, file.absolute(), arguments))
        except BaseException:
            self.end()
            raise

    def ask(self, one: object) -> None:
        """Ask for something more."""
        with suppress(BrokenPipeError, ConnectionError):  # why it has ended is its last answer
            self._channel.send(one)

    def next(self, cancelled: Callable[[], bool]) -> tuple[str, Any]:
        """The next answer: ITEM or END, and the value, an array, or a pair of both."""
        self._wait(cancelled)
        message, array = self._received()
        try:
            kind, plain = message
            problem = _refusal(*plain) if kind == REFUSED else None
        except (TypeError, ValueError) as error:
            raise self._ended() from error
        if problem:
            raise problem
        if kind == FAILED:
            log.error("reading %s failed: %s", self._name, printable(str(plain), "\n"))
            raise RuntimeError(f"reading {self._name} failed")
        return kind, plain if array is None else array if plain is None else (plain, array)

    def _received(self) -> tuple[Any, Any]:
        try:
            plain, array = self._channel.receive()
        except (EOFError, ConnectionError, UnsoundMessage) as error:
            raise self._ended() from error
        return plain, array

    def _ended(self) -> PoseDubError:
        return PoseDubError(
            f"The file {self._name} ends the program that reads it; export it again in another format.",
            ErrorKind.CORRUPT,
        )

    def _wait(self, cancelled: Callable[[], bool]) -> None:
        """Until an answer comes; PoseDubError when nobody waits for it any more, or it takes too long."""
        begun, used = time.monotonic(), None
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        while True:
            if cancelled():
                raise PoseDubError("The work was cancelled; start it again when it is wanted.", ErrorKind.CANCELLED)
            if poll.poll(1000 * _LOOK_SECONDS):
                return
            now = self._processor_seconds()
            used = now if used is None else used
            if now - used > limits.STEP_PROCESSOR_SECONDS or time.monotonic() - begun > limits.STEP_SECONDS:
                sentence = f"The file {self._name} takes too long to read; export it again in another format."
                raise PoseDubError(sentence, ErrorKind.TOO_LARGE)

    def _processor_seconds(self) -> float:
        with suppress(psutil.Error, AttributeError):
            times = self._process.cpu_times()  # type: ignore[union-attr]
            return times.user + times.system
        return 0.0

    def end(self) -> None:
        """Nobody waits any more."""
        self._channel.close()
        with suppress(psutil.Error, AttributeError):
            self._process.kill()  # type: ignore[union-attr]
