"""The process that makes the others: it has loaded what decoders need, takes no threads, and forks for each file.

    python -m model_server.sandbox.fork_server HANDLE MODULE...

Over the socket HANDLE come the ends of channels, one a message; each gets a process of its own, which is told over
its channel what to do. It ends with the one that holds the socket's other end.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from model_server.errors import ErrorKind, PoseDubError
from model_server.sandbox import limits
from model_server.sandbox.channel import END, FAILED, ITEM, REFUSED, Asked, Channel

# Exit code; nobody asks for it.
_GONE = 0


def main() -> None:
    """Fork until the other end of the socket is closed."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in sys.argv[2:]:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; whoever started this ends it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, handles, *_ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _write_nowhere()
            _work(Channel(socket.socket(fileno=handles[0])))
            os._exit(_GONE)
        os.close(handles[0])


def _write_nowhere() -> None:
    """A terminal would take orders of what a process writes there; one without stderr has other files at its number."""
    if sys.stderr is not None:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stderr.fileno())


def _work(channel: Channel) -> None:
    """The whole life of a process: who it is, what to do, the answers."""
    try:
        channel.send(os.getpid())
        (work, file, arguments), _ = channel.receive(trusted=True)
        asked = _asked(channel)
        arguments = [asked if argument is Asked else argument for argument in arguments]
        _prepare(work, file)
        limits.apply(file)
        _answer(channel, work, (file, *arguments))
    except (EOFError, BrokenPipeError, ConnectionError):  # nobody waits any more
        pass
    except PoseDubError as error:
        _say(channel, REFUSED, (error.message, error.kind.value))
    except MemoryError:
        _say(channel, REFUSED, (too_much_memory(file.name), ErrorKind.TOO_LARGE.value))
    except BaseException:  # noqa: BLE001 - boundary of the process: its parent logs it
        _say(channel, FAILED, traceback.format_exc())


def _answer(channel: Channel, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if not inspect.isgeneratorfunction(work):
        channel.send(*_parts(END, work(*arguments)))
        return
    values = work(*arguments)
    while True:
        try:
            channel.send(*_parts(ITEM, next(values)))
        except StopIteration as stop:
            channel.send(*_parts(END, stop.value))
            return


def _parts(kind: str, value: Any) -> tuple[Any, Any]:
    """A message of a value: (plain, array) pairs, arrays and plain values are told apart."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return (kind, None), value
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
        return (kind, value[0]), value[1]
    return (kind, value), None


def _asked(channel: Channel) -> Iterator[Any]:
    """What the parent asks for, until it asks no more."""
    while True:
        value, _ = channel.receive(trusted=True)
        if value is None:
            return
        yield value


def _prepare(work: Callable[..., Any], file: Any) -> None:
    """Let the work's module get ready for this file."""
    prepare = getattr(sys.modules[work.__module__], "prepare", None)
    if prepare:
        prepare(file)


def _say(channel: Channel, kind: str, what: Any) -> None:
    with suppress(OSError):
        channel.send((kind, what))


def too_much_memory(name: str) -> str:
    """A sentence for a file that takes more than a process may have."""
    return f"The file {name} takes more memory than a single file may; scale it down or export it again."


if __name__ == "__main__":
    main()
