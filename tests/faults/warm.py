"""A process that has loaded what a server loads, and becomes one as often as it is told: that costs a tenth of a start.

Each server is a process of its own, which is killed as any other. Reads lines of JSON, the command's words and the file
of its log, and answers each with the process's number.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.faults.posedub import FAULTS
from tests.servers import ServerProcess

# Of what a server has loaded once it serves: the rest comes with these.
_LOADED = (
    "toy_engine",
    "model_server.cli.main",
    "model_server.service.server",
    "model_server.engines.weights",
    "model_server.networks.cpu.bf16",
    "model_server.networks.cpu.loops",
)


class Template:
    """The process, as long as it is wanted.

    Args:
        environment: of it and of its servers; the faults that POSEDUB_FAULT names are theirs.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", __name__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )

    def server(self, words: list[str], log: Path) -> Forked:
        """A new process that has begun to serve."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([words, str(log)]) + "\n")
        self._process.stdin.flush()
        return Forked(int(self._process.stdout.readline()))

    def close(self) -> None:
        """It becomes no more servers."""
        self._process.communicate()


class Forked(psutil.Process):
    """Another process's child, as `subprocess` shows one's own."""

    def poll(self) -> int | None:
        """None while it runs."""
        return None if self.is_running() else 0


class WarmServer(ServerProcess):
    """A server that is a template's child.

    Attributes:
        template: set before the first start.
    """

    template: Template

    def _begun(self, command: list[str]) -> Any:
        return self.template.server(command[command.index("serve") :], self.log)


def main() -> None:
    """Load, then fork for each line."""
    for name in _LOADED:
        importlib.import_module(name)
    if fault := os.environ.get("POSEDUB_FAULT"):
        FAULTS[fault]()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    for line in sys.stdin:
        words, log = json.loads(line)
        number = os.fork()
        if not number:
            _become(words, log)
        print(number, flush=True)


def _become(words: list[str], log: str) -> None:
    """A server's whole life."""
    from model_server.cli.main import main as posedub

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nowhere, file = os.open(os.devnull, os.O_RDWR), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for handle, taken in ((nowhere, 0), (nowhere, 1), (file, 2)):
        os.dup2(handle, taken)
    os.closerange(3, max(nowhere, file) + 1)
    sys.argv[1:] = words
    sys.exit(posedub())


if __name__ == "__main__":
    main()
