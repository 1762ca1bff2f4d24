"""Computers of a Ray cluster, as `posedub worker` makes them of this one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tests.limits import HANGS
from tests.servers import ServerProcess, free_port

# Without it nodes and servers look for a dead head for a minute.
PATIENCE = {"RAY_gcs_rpc_server_reconnect_timeout_s": "10"}

# Ray gives its processes half a minute to start, which is not enough on processors that are busy otherwise.
TRIES = 4


def cluster_address() -> str:
    """Of a head that may be started: none of the ports that Ray's own processes take."""
    port = free_port()
    while 10000 <= port < 20000:
        port = free_port()
    return f"127.0.0.1:{port}"


class RayNode:
    """A computer of the cluster at `address`; `start` may be called again after `kill`.

    Args:
        folder: with a short path, since Ray's sockets lie below it.
        node: its own address; the head's is that of the cluster.
        environment: variables that its workers get besides this process's.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        workers: int = 1,
        node: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        place = ["--node", node] if node else ["--head"]
        words = ["worker", *place, "--ray", address, "--workers", str(workers), "--object-store-mib", "80"]
        self._command = [sys.executable, "-m", "model_server", *words, "--ray-token", str(folder / "token")]
        self._environment = {**os.environ, **PATIENCE, **(environment or {}), "RAY_TMPDIR": str(folder)}

    def start(self) -> RayNode:
        """Start it and wait until it belongs to the cluster."""
        said = ""
        for _ in range(TRIES):
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for line in self._process.stdout:
                said += line
                if "block forever" in line:
                    return self
            self._process.wait(HANGS)
        raise AssertionError(said)

    def kill(self) -> None:
        """SIGKILL to all of its processes at once, as by a power cut."""
        processes = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(HANGS)

    def __enter__(self) -> RayNode:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(HANGS)


def workers_of(server: ServerProcess, count: int) -> list[int]:
    """Processes of the workers that have joined a server so far, once there were `count`."""
    return [int(process) for process in said(server, r"joins: process (\d+)", count)]


def said(server: ServerProcess, pattern: str, count: int = 1) -> list[str]:
    """What a server, or who watches over it, has said that matches, once it has said it so often."""
    limit = time.monotonic() + HANGS
    while len(found := re.findall(pattern, server.log.read_text())) < count:
        assert time.monotonic() < limit, server.log.read_text()
        time.sleep(0.1)
    return found
