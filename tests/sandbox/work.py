"""Work that decoders must not be able to do, for the processes that read media: functions that they can load."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def read(_file: Path, other: str) -> bytes:
    return Path(other).read_bytes()


def listed(_file: Path, folder: str) -> list[str]:
    return os.listdir(folder)


def own(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path) -> None:
    with file.open("ab") as handle:
        handle.write(b"more")


def create(file: Path) -> None:
    file.with_name("new").write_bytes(b"")


def change_mode(file: Path) -> None:
    file.chmod(0o777)


def connect(_file: Path, port: int) -> None:
    socket.create_connection(("127.0.0.1", port))


def datagram(_file: Path, port: int) -> None:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port))


def run(_file: Path) -> None:
    subprocess.run(["/bin/true"])


def fork(_file: Path) -> None:
    if os.fork() == 0:
        os._exit(0)


def strike(_file: Path, pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def memory(_file: Path, size: int) -> int:
    return len(bytearray(size))


def crash(_file: Path) -> None:
    ctypes.string_at(0)


def turn_forever(_file: Path) -> None:
    while True:
        pass


def thread(_file: Path) -> int:
    found: list[int] = []
    worker = threading.Thread(target=found.append, args=(1,))
    worker.start()
    worker.join()
    return len(found)


def handles(_file: Path) -> list[int]:
    return [handle for handle in range(3, 64) if _is_open(handle)]


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def many_handles(file: Path) -> int:
    return len([file.open("rb") for _ in range(1000)])


def doubled(_file: Path, asked: Iterator[int]) -> Iterator[tuple[int, np.ndarray]]:
    for one in asked:
        yield one, np.full((2, 2), one, np.uint8)


def hostile(_file: Path, trace: str) -> object:
    return _Hostile(trace)


class _Hostile:
    def __init__(self, trace: str) -> None:
        self._trace = trace

    def __reduce__(self):  # noqa: ANN204
        return os.mkdir, (self._trace,)
