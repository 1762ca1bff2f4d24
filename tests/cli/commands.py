"""The `posedub` command: its work in this process, or itself in surroundings that a test chooses."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from model_server.cli.main import main
from tests.gate import Gate, program
from tests.limits import HANGS

ROOT = Path(__file__).resolve().parents[2]


def posedub(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """What the command does, in this process: that spares each call the seconds in which a process starts."""
    words, said, told = list(map(str, arguments)), StringIO(), StringIO()
    with redirect_stdout(said), redirect_stderr(told), _own_logging():
        try:
            code: Any = main(words)
        except SystemExit as left:
            code = left.code
        except Exception:  # noqa: BLE001 - as Python ends a process
            code = traceback.format_exc()
        if isinstance(code, str):
            print(code, file=told)
            code = 1
    done = subprocess.CompletedProcess(words, code or 0, said.getvalue(), told.getvalue())
    if check:
        assert done.returncode == 0, done.stderr
    return done


@contextmanager
def _own_logging() -> Iterator[None]:
    """What a command sets of the log ends with it, or its handlers write where it did."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _words(arguments: Sequence[object], gate: Gate | None = None) -> list[str]:
    return [sys.executable, *program(gate), *map(str, arguments)]


def _environment(changes: Mapping[str, str], without: Sequence[str] = ()) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(changes)


def ended(arguments: Sequence[object], changes: Mapping[str, str] = {}, **options: Any) -> subprocess.CompletedProcess:  # noqa: B006
    """The command after its end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    environment = _environment(changes)
    return subprocess.run(_words(arguments), text=True, errors="replace", timeout=HANGS, env=environment, **pipes)


def one_sentence(done: subprocess.CompletedProcess) -> str:
    """What a command that failed said last, which is all but for a progress bar."""
    assert done.returncode in (1, 2), (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("posedub")]
    assert len(said) == 1 and done.stderr.endswith(f"{said[0]}\n"), done.stderr
    return said[0]


class Following(subprocess.Popen):
    """A process whose stderr is read while it runs."""

    heard = ""

    def wait_for(self, text: str) -> None:
        """Read until it has said `text`."""
        while text not in self.heard:
            piece = os.read(self.stderr.fileno(), 4096).decode(errors="replace")
            assert piece, f"it ended: {self.heard}"
            self.heard += piece

    def rest(self) -> str:
        """All that was said up to the end, a line for each step of a progress bar."""
        self.heard += self.stderr.read().decode(errors="replace")
        return self.heard.replace("\r", "\n").rstrip()


class Command:
    """A subcommand with options that each call may change; None leaves one out.

    Attributes:
        prefix: what starts the command, as another user or in a shell.
        environment, without: what is set in its environment, and what is not there.
        folder: where it is started.
        gate: where its dubs wait while it is closed.
    """

    def __init__(self, name: str, options: dict[str, object], environment: dict[str, str]) -> None:
        self._name, self._options = name, options
        self.environment, self.without = environment, ()
        self.prefix: list[str] = []
        self.folder: Path | None = None
        self.gate: Gate | None = None

    def _started(self, changes: Mapping[str, object]) -> dict[str, Any]:
        environment = _environment(self.environment, self.without)
        words = _words([self._name, *self._flags(changes)], self.gate)
        return {"args": [*self.prefix, *words], "env": environment, "cwd": self.folder}

    def _flags(self, changes: Mapping[str, object]) -> list[object]:
        options = self._options | changes
        return [part for name, value in options.items() if value is not None for part in (f"--{name}", value)]

    def __call__(self, **changes: object) -> subprocess.CompletedProcess:
        """Run it to its end; in this process where its surroundings are those of any other."""
        if not (self.environment or self.without or self.prefix or self.folder):
            return posedub(self._name, *self._flags(changes), check=False)
        return subprocess.run(**self._started(changes), capture_output=True, text=True, errors="replace", timeout=HANGS)

    @contextmanager
    def started(self, **changes: object) -> Iterator[Following]:
        """Run it beside the block."""
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background hear no interrupts
        with Following(
            **self._started(changes), stderr=subprocess.PIPE, preexec_fn=None if os.name == "nt" else heard
        ) as process:
            try:
                yield process
            finally:
                process.kill()
