"""What a process that reads a stranger's file can do, and what it cannot: tried from within such a process."""

from __future__ import annotations

import os
import pickle
import platform
import socket
import struct
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media.timing import Timing
from model_server.sandbox import client, limits
from model_server.sandbox.channel import Asked, Channel, UnsoundMessage
from tests.limits import HANGS
from tests.readers import readers
from tests.sandbox import work

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
landlock = pytest.mark.skipif(bool(limits.lacking()), reason=f"this kernel lacks limits: {limits.lacking()}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "of a stranger"
    path.write_bytes(b"content")
    return path


def refused(function: object, file: Path, *arguments: object) -> None:
    with pytest.raises(RuntimeError, match="reading of a stranger failed"):
        client.answer(function, file, *arguments)


def ends(function: object, file: Path, *arguments: object) -> PoseDubError:
    with pytest.raises(PoseDubError) as caught:
        client.answer(function, file, *arguments)
    assert "of a stranger" in caught.value.message and caught.value.message.endswith(".")
    return caught.value


def test_it_reads_its_file_and_makes_threads(file: Path) -> None:
    assert client.answer(work.own, file) == b"content"
    assert client.answer(work.thread, file) == 1


@landlock
def test_it_reads_no_other_file_and_changes_none(file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    for other in (tmp_path / "secret", Path("/etc/passwd"), Path("/proc/self/environ")):
        refused(work.read, file, str(other))
    refused(work.listed, file, str(tmp_path))
    for change in (work.write, work.create, work.change_mode):
        refused(change, file)
    assert file.read_bytes() == b"content" and sorted(os.listdir(tmp_path)) == ["of a stranger", "secret"]


@landlock
def test_it_reaches_neither_network_nor_other_processes(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        refused(work.connect, file, port)
        refused(work.datagram, file, port)
    for function in (work.run, work.fork):
        refused(function, file)
    refused(work.strike, file, os.getpid())


def test_it_neither_steers_other_processes_nor_outlives_its_own(file: Path) -> None:
    for function in (work.limit_other, work.slow_other, work.signal_by_kernel):
        refused(function, file, os.getpid())
    assert client.answer(work.own_limit, file) == 0, "its own it may read"
    assert "ends the program" in ends(work.aborts, file).message
    if platform.machine() == "x86_64":
        refused(work.keep_memory, file)
        refused(work.outlive_parent, file)


def test_it_has_no_privileges_but_to_read(file: Path) -> None:
    effective, permitted, inheritable, *more = client.answer(work.privileges, file)
    assert effective == permitted and permitted & ~4 == inheritable == 0 and more == [0, 0, 0]
    refused(work.raise_own_limit, file)


def test_it_gives_no_orders_to_terminals(
    file: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    refused(work.type_into_terminal, file, 1)
    client.answer(work.shouts, file)
    assert "shouted" not in capfd.readouterr().err
    with pytest.raises(PoseDubError) as caught:
        client.answer(work.says, file, "\x1b]0;title\x07" + "long" * 10_000)
    assert caught.value.message.isprintable() and len(caught.value.message) < 5000
    caplog.clear()
    refused(work.fails, file, "\x1b[2J\rof a stranger")
    assert "\x1b" not in caplog.text and "\r" not in caplog.text and "of a stranger" in caplog.text


def test_it_holds_no_file_of_the_server(file: Path) -> None:
    with file.open("rb"), file.open("rb"):
        assert len(client.answer(work.handles, file)) == 1
    refused(work.many_handles, file)


def test_memory_has_a_limit(file: Path) -> None:
    assert client.answer(work.memory, file, limits.MEMORY // 64) == limits.MEMORY // 64
    problem = ends(work.memory, file, 2 * limits.MEMORY)
    assert "takes more memory" in problem.message and problem.kind is ErrorKind.TOO_LARGE


def test_a_crash_is_one_sentence_and_the_next_file_is_read(file: Path) -> None:
    assert "ends the program that reads it" in ends(work.crash, file).message
    assert client.answer(work.own, file) == b"content"


def test_time_has_a_limit(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STEP_PROCESSOR_SECONDS", 0.3)
    assert "takes too long" in ends(work.turn_forever, file).message


def test_cancelling_ends_the_process(file: Path) -> None:
    turning: list[psutil.Process] = []

    def cancelled() -> bool:
        turning[:] = readers() - before
        return bool(turning)

    before = readers()
    with pytest.raises(PoseDubError) as caught:
        client.answer(work.turn_forever, file, cancelled=cancelled)
    assert caught.value.kind is ErrorKind.CANCELLED and turning
    assert not psutil.wait_procs(turning, HANGS)[1]


def test_what_is_asked_for_is_answered_in_order_and_no_further_than_wanted(file: Path) -> None:
    for asked in (range(5), iter(range(5)), []):
        wanted = list(asked) if isinstance(asked, (range, list)) else list(range(5))
        got = list(client.answered(work.doubled, file, asked, Asked))
        assert [one for one, _ in got] == wanted and all((array == one).all() for one, array in got)

    def told():  # noqa: ANN202
        for k in range(3):
            seen.append(k)
            yield k

    seen: list[int] = []
    for k, _ in client.answered(work.doubled, file, told(), Asked):
        assert seen[-1] == k


def test_no_answer_makes_the_server_run_anything(file: Path, tmp_path: Path) -> None:
    assert "ends the program" in ends(work.hostile, file, str(tmp_path / "trace")).message
    assert not (tmp_path / "trace").exists()


def test_no_message_changes_a_class_or_function() -> None:
    """Python's pickles can set attributes of all that they name."""
    ours, theirs = socket.socketpair()
    channel, before = Channel(ours), Fraction(1, 3) + 1
    with theirs:
        for module, name in ((Timing.__module__, "Timing"), ("fractions", "Fraction")):
            change = pickle.dumps((None, {"times_for": 5, "__add__": 5, "_make": 5}), 2)[2:-1]
            text = b"\x80\x02(c" + f"{module}\n{name}\n".encode() + change + b"bNt."
            theirs.sendall(struct.pack("<QQ", len(text), 0) + text)
            with pytest.raises(UnsoundMessage, match="a change of|attribute"):
                channel.receive()
        timing = Timing([1, 2], [], Fraction(1, 25), Fraction(1, 25), False, Fraction(25), Fraction(25))
        Channel(theirs).send(timing)
        assert channel.receive() == (timing, None)
    channel.close()
    assert callable(Timing.times_for) and Fraction(1, 3) + 1 == before


@pytest.mark.parametrize("answer", [None, 5, ("refused", 3), ("refused", ("why", "NO KIND")), ("refused", None)])
def test_answers_of_another_kind_end_the_process(file: Path, answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def channel() -> Channel:
        ours, theirs = socket.socketpair()
        for message in (1, answer):
            Channel(theirs).send(message)
        ends_of.append(theirs)
        return Channel(ours)

    ends_of: list[socket.socket] = []
    monkeypatch.setattr(client._server, "channel", channel)
    monkeypatch.setattr(client.psutil, "Process", lambda _pid: None)
    assert "ends the program that reads it" in ends(work.own, file).message
    ends_of[0].close()


def test_messages_that_make_no_sense_are_refused() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    with theirs:
        for message in (
            b"\xff" * 16,
            (5).to_bytes(8, "little") + bytes(8) + b"hello",
            (2**20).to_bytes(8, "little") + (2**40).to_bytes(8, "little"),
        ):
            theirs.sendall(message)
            with pytest.raises(UnsoundMessage):
                channel.receive()
        Channel(theirs).send(1, np.zeros(3, "<f8"))
        with pytest.raises(UnsoundMessage):
            channel.receive()
    channel.close()


def test_a_fork_server_that_was_ended_is_started_again(file: Path) -> None:
    client.answer(work.own, file)
    (server,) = [one for one in psutil.Process().children() if "fork_server" in " ".join(one.cmdline())]
    server.kill()
    psutil.wait_procs([server], HANGS)
    assert client.answer(work.own, file) == b"content"
