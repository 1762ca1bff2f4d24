"""This computer as a node of a Ray cluster, in processes of Ray's own; and the token that all of them know."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import psutil

from model_server.errors import ErrorKind, PoseDubError

PORT = 6379
STORE_MIB = 512
END_SECONDS = 20.0
# What Ray writes once a node belongs to its cluster.
_JOINED = "block forever"
log = logging.getLogger(__name__)


def authenticate(token_file: Path, make: bool) -> None:
    """Have Ray's processes that this one starts or calls prove that they know the token.

    Without this Ray 2.60 writes one into the home folder, or lets anybody in.

    Args:
        make: whether there is a new one where there is none: for heads, all others are given the head's.

    Raises:
        PoseDubError: there is none.
    """
    if not token_file.exists():
        if not make:
            raise PoseDubError(
                f"No token of the Ray cluster is in {token_file}; copy its head's there, or name one with --ray-token.",
                ErrorKind.NOT_FOUND,
            )
        token_file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file.absolute())


def start_command(
    address: str,
    resources: Mapping[str, int],
    *,
    head: bool = False,
    gpus: int = 0,
    node: str | None = None,
    store_mib: int = STORE_MIB,
) -> list[str]:
    """A command that is a node until it is ended.

    Args:
        address: HOST:PORT of the cluster's head, which this is or is not.
        node: this computer's own address, None for the one that Ray finds.
    """
    host, _, port = address.partition(":")
    place = ["--head", f"--port={port or PORT}"] if head else [f"--address={host}:{port or PORT}"]
    own = node or (host if head else None)
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start"),
        *place,
        *([f"--node-ip-address={own}"] if own else []),
        f"--resources={json.dumps(dict(resources))}",
        f"--num-gpus={gpus}",
        f"--object-store-memory={store_mib * 2**20}",
        "--disable-usage-stats",
        "--min-worker-port=0",  # any free ports, so that computers may have several nodes
        "--max-worker-port=0",
        "--block",
        *(["--include-dashboard=false"] if head else []),
    ]


def is_node_of(address: str) -> bool:
    """Whether this computer has a node of the cluster whose head is at HOST:PORT; clusters are told by the port."""
    port = address.rpartition(":")[2]
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if process.info["name"] == "raylet" and any(word.endswith(f":{port}") for word in process.cmdline()):
                return True
    return False


class OwnNode:
    """A node without workers: Ray speaks to a cluster only through a node of the same computer.

    What it says goes into this process's log.

    Raises:
        PoseDubError: it could not join; says why.
    """

    def __init__(self, address: str) -> None:
        command = [*start_command(address, {}), "--num-cpus=0"]
        # Whoever ends the server's process group, such as a terminal or a container, must not end the node before it.
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self._joined: Future[str] = Future()
        self._listener = threading.Thread(target=self._listen, name="node", daemon=True)
        self._listener.start()
        if problem := self._joined.result():
            self.end()
            raise PoseDubError(problem, ErrorKind.UNAVAILABLE)

    def _listen(self) -> None:
        """Take what the node says as long as it lives: it would stand still with a full pipe."""
        assert self._process.stdout
        said = "The node ended without a word."
        for line in self._process.stdout:
            said = line.strip() or said
            log.info("the Ray node of this computer: %s", line.rstrip())
            if _JOINED in line and not self._joined.done():
                self._joined.set_result("")
        if not self._joined.done():
            self._joined.set_result(said)

    def end(self) -> None:
        """Leave the cluster."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._listener.join(END_SECONDS)
