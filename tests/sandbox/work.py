"""Work that decoders must not be able to do, for the processes that read media: functions that they can load."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from model_server.errors import PoseDubError


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


def limit_other(_file: Path, pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0))


def slow_other(_file: Path, pid: int) -> None:
    os.setpriority(os.PRIO_PROCESS, pid, 19)


def raise_own_limit(_file: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 50, 1 << 50))


def own_limit(_file: Path) -> int:
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0]


def keep_memory(_file: Path) -> None:
    _called(29, 0, 4096, 0o1600)


def type_into_terminal(_file: Path, handle: int) -> None:
    fcntl.ioctl(handle, termios.TIOCSTI, b"x")


def signal_by_kernel(file: Path, pid: int) -> None:
    with file.open("rb") as handle:
        fcntl.fcntl(handle, fcntl.F_SETOWN, pid)


def outlive_parent(_file: Path) -> None:
    _called(157, 1, 0, 0)


def _called(*words: int) -> None:
    """A call by its number of x86-64."""
    if ctypes.CDLL(None, use_errno=True).syscall(*words) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def privileges(_file: Path) -> list[int]:
    held = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capget(struct.pack("=Ii", 0x20080522, 0), held)
    return list(held)


def aborts(_file: Path) -> None:
    os.abort()


def says(_file: Path, message: str) -> None:
    raise PoseDubError(message)


def fails(_file: Path, message: str) -> None:
    raise ValueError(message)


def shouts(_file: Path) -> None:
    os.write(2, b"shouted")


def hostile(_file: Path, trace: str) -> object:
    return _Hostile(trace)


class _Hostile:
    def __init__(self, trace: str) -> None:
        self._trace = trace

    def __reduce__(self):  # noqa: ANN204
        return os.mkdir, (self._trace,)
