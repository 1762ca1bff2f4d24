"""The model server that the add-on manages on this machine."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from ..core.address import ServerAddress
from ..core.errors import AddonError
from ..core.version import VERSION
from .boundary import boundary
from .cancel import CancelToken
from .connection import Connection, Endpoint

START_LIMIT = 600.0
"""Seconds until a server that lives but has not answered is given up; the first start compiles its Python."""
LEAVING_LIMIT = 15.0
"""Seconds that a server has which another Blender took with it, until its port is free."""
PROBE_PAUSE = 0.25
TAIL_BYTES = 64 * 1024

TAKEN = "Its port is taken by another program: choose another port in the preferences."
NO_MEMORY = "The machine is out of memory: close other programs."
LAST_WORD = "posedub: "
"""How the line begins in which the server's command says why it ends."""
_ADVICE = (
    ("address already in use", TAKEN),
    (" is taken; ", TAKEN),
    ("no module named", "Its installation is incomplete: install the model server again."),
    ("no space left", "The disk is full: free some space."),
    ("permission denied", "It may not write its folder: choose another data folder in the preferences."),
    ("out of memory", NO_MEMORY),
    ("unrecognized arguments", "It is of another version: update the model server or the add-on."),
)


class ServerState(Enum):
    """Life of a managed server."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"


def find_posedub(preferred: str = "", beside: Path | None = None) -> list[str] | None:
    """Command of the server's executable, None when there is none.

    Args:
        preferred: path that the editor set; nothing else is tried then.
        beside: folder in which, or above which, a virtual environment may lie.
    """
    if preferred:
        found = shutil.which(os.path.expanduser(preferred))
        return [found] if found else None
    candidates = [shutil.which("posedub"), *map(shutil.which, map(str, _environments(beside)))]
    return next(([path] for path in candidates if path), None)


def _environments(beside: Path | None) -> Iterator[Path]:
    scripts, suffix = ("Scripts", ".exe") if sys.platform == "win32" else ("bin", "")
    for folder in [beside, *beside.parents] if beside else []:
        for name in (".venv", "venv"):
            yield folder / name / scripts / f"posedub{suffix}"


class LocalServer:
    """One local server: started in the background, or reused when one already answers at the address.

    Args:
        command: the executable, such as `find_posedub()` gives; the arguments of `serve` are added.
        data_dir: the server's store.
        log_file: receives its output.
        address: of this machine, as in `Endpoint`.
        options: further arguments of `posedub serve`.
    """

    def __init__(
        self,
        command: list[str],
        data_dir: Path,
        log_file: Path,
        address: str = "127.0.0.1:50761",
        options: Sequence[str] = (),
    ) -> None:
        self._command = command
        self._data_dir = data_dir
        self._log_file = log_file
        self._endpoint = Endpoint(address)
        self._options = list(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._cancel = CancelToken()
        self._lock = threading.Lock()
        self._state = ServerState.STOPPED
        self._advice = ""

    @property
    def state(self) -> ServerState:
        """Where it stands; never blocks."""
        if self._state is ServerState.RUNNING and self._process and self._process.poll() is not None:
            if TAKEN in self._exit_sentence():
                self._process = None  # another Blender's server was quicker, and answers
            else:
                self._settle(self._cancel, ServerState.FAILED, self._exit_sentence())
        return self._state

    @property
    def owned(self) -> bool:
        """Whether this object started the process, rather than found one, and has not stopped it since."""
        return self._process is not None and self._state is not ServerState.STOPPED

    @property
    def advice(self) -> str:
        """One sentence after FAILED: why, and what to do; else ""."""
        return self._advice

    def start(self) -> None:
        """Start, or find, the server in the background; watch `state`."""
        if self.state in (ServerState.STARTING, ServerState.RUNNING):
            return
        self._state, self._advice, self._process = ServerState.STARTING, "", None
        previous, self._cancel = self._thread, CancelToken()
        self._thread = threading.Thread(
            target=self._bring_up, args=(self._cancel, previous), name="posedub launcher", daemon=True
        )
        self._thread.start()

    def stop(self, grace: float = 5.0) -> None:
        """End an owned process in the background, by force after `grace` seconds. A reused one is left alone."""
        starting, process = self._thread, self._process
        with self._lock:
            self._cancel.set()
            self._state, self._advice = ServerState.STOPPED, ""
        self._thread = threading.Thread(
            target=self._shut_down, args=(starting, process, grace), name="posedub stop", daemon=True
        )
        self._thread.start()

    def wait(self, timeout: float) -> ServerState:
        """Block until it runs, stopped or failed; for scripts and tests."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self.state

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the log; "" when there is none."""
        try:
            with self._log_file.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _bring_up(self, cancel: CancelToken, previous: threading.Thread | None) -> None:
        def failed(error: AddonError) -> None:
            self._settle(cancel, ServerState.FAILED, str(error))

        with boundary("local server", "The model server could not be started", failed):
            if previous is not None:
                previous.join()
            leaving = time.monotonic() + LEAVING_LIMIT
            if not self._found(cancel, leaving):
                self._launch()
                self._await(cancel, leaving)
            self._settle(cancel, ServerState.RUNNING)

    def _found(self, cancel: CancelToken, leaving: float) -> bool:
        """Whether a fitting server is at the address; until `leaving` one that holds the port is waited for."""
        while not self._answers(cancel):
            if time.monotonic() > leaving or _is_free(self._endpoint.place):
                return False
            cancel.wait(PROBE_PAUSE)
        return True

    def _answers(self, cancel: CancelToken) -> bool:
        """Whether a fitting server is at the address. Raises AddonError when something else is."""
        try:
            with Connection(self._endpoint, cancel) as connection:
                info = connection.info(timeout=2.0)
        except AddonError as error:
            if error.transient:
                return False
            raise
        if info.version != VERSION:
            raise AddonError(
                f"PoseDub {info.version} still serves at {self._endpoint.address}, and the add-on is {VERSION}.",
                "Close the Blender that started it, or choose another port in the preferences.",
            )
        return True

    def _launch(self) -> None:
        place = self._endpoint.place
        arguments = ["serve", "--host", place.host, "--port", str(place.port), "--data", str(self._data_dir)]
        try:
            with self._log() as output:
                self._process = subprocess.Popen(
                    [*self._command, *arguments, "--exit-with", str(os.getpid()), *self._options],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment(),
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except OSError as error:
            raise AddonError(
                f"The model server {self._command[0]} could not be started: {error.strerror}.",
                "Correct its path in the preferences.",
            ) from error

    def _log(self) -> BinaryIO:
        """The log, begun anew, and the server's folder made."""
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            return self._log_file.open("wb")
        except OSError as error:
            raise AddonError(
                f"{error.filename or self._data_dir} cannot be written: {error.strerror}.",
                "Choose another data folder in the preferences.",
            ) from error

    def _await(self, cancel: CancelToken, leaving: float) -> None:
        deadline = time.monotonic() + START_LIMIT
        while not self._answers(cancel):
            if self._process is None or self._process.poll() is not None:
                sentence = self._exit_sentence()
                if not self._found(cancel, leaving):
                    raise AddonError(sentence)
                return
            if time.monotonic() > deadline:
                raise AddonError("The model server started but does not answer.", "Look at its log.")
            cancel.wait(PROBE_PAUSE)

    def _shut_down(
        self, starting: threading.Thread | None, process: subprocess.Popen[bytes] | None, grace: float
    ) -> None:
        if starting is not None:
            starting.join()
        process = process or self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _settle(self, cancel: CancelToken, state: ServerState, advice: str = "") -> None:
        """Take over how a start ended, unless it was stopped meanwhile."""
        with self._lock:
            if not cancel.is_set:
                self._state, self._advice = state, advice

    def _exit_sentence(self) -> str:
        tail, code = self.log_tail(20), self._process.returncode if self._process else None
        said = [line.removeprefix(LAST_WORD) for line in tail.splitlines() if line.startswith(LAST_WORD)]
        advice = next((text for sign, text in _ADVICE if sign in tail.lower()), said[-1] if said else "")
        if not advice and code is not None and code < 0:  # by a signal, as systems do when memory runs out
            advice = NO_MEMORY
        return f"The model server ended with code {code}. {advice or 'Look at its log.'}"


def _is_free(place: ServerAddress) -> bool:
    """Whether a server could take the port; another reason than its being taken is left to the server to tell."""
    with socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET) as trial:
        if os.name == "posix":  # as servers do, or a port whose connections have just ended seems taken
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((place.host, place.port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def environment() -> dict[str, str]:
    """The environment without Blender's own Python, which would leak into the server's."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")} | {
        "PYTHONUNBUFFERED": "1"
    }
