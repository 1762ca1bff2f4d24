"""The model server that the add-on manages on this machine.

API draft, bodies follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path


class ServerState(Enum):
    """Life of a managed server."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"


def find_posedub(preferred: str = "", beside: Path | None = None) -> list[str] | None:
    """Command of the server's executable: `preferred` path, else on PATH, else in a `.venv`/`venv` in or above `beside`."""
    raise NotImplementedError


class LocalServer:
    """One local server: started in the background, or reused when one already answers at the address.

    Args:
        command: the executable, such as `find_posedub()` gives; the arguments of `serve` are added.
        data_dir: the server's store.
        log_file: receives its output.
        address: "127.0.0.1:port".
        options: further arguments of `posedub serve`.
    """

    def __init__(
        self, command: list[str], data_dir: Path, log_file: Path, address: str = "127.0.0.1:50761",
        options: Sequence[str] = (),
    ) -> None:
        raise NotImplementedError

    @property
    def state(self) -> ServerState:
        """Where it stands; never blocks."""
        raise NotImplementedError

    @property
    def owned(self) -> bool:
        """Whether this object started the process, rather than found one."""
        raise NotImplementedError

    @property
    def advice(self) -> str:
        """One sentence after FAILED: why it did not start and what to do; else ""."""
        raise NotImplementedError

    def start(self) -> None:
        """Start, or find, the server in the background; watch `state`."""
        raise NotImplementedError

    def stop(self, grace: float = 5.0) -> None:
        """Ask an owned process to end, kill it after `grace` seconds, in the background. A reused one is left alone."""
        raise NotImplementedError

    def wait(self, timeout: float) -> ServerState:
        """Block until it runs, stopped or failed; for scripts and tests."""
        raise NotImplementedError

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
        raise NotImplementedError
