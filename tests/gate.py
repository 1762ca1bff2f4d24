"""A gate at which a server's dubs wait between two batches, so that a test can look at one that is not done yet.

Run as a module, with the gate's port before the command's own words, this is `posedub` with such a gate.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.limits import HANGS


class Gate:
    """Open at first; of each dub only the beginning passes while it is closed."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._passed = threading.Condition()
        self._most: float = float("inf")
        self._waiting = 0
        threading.Thread(target=self._serve, name="gate", daemon=True).start()

    @property
    def port(self) -> int:
        """Where dubs ask."""
        return self._socket.getsockname()[1]

    @contextmanager
    def closed(self, after: int = 1) -> Iterator[None]:
        """No dub begins another batch once it has drawn so many frames."""
        before = self._most
        self._let_through(after)
        try:
            yield
        finally:
            self._let_through(before)

    def wait_for_somebody(self) -> None:
        """Until a dub waits here."""
        with self._passed:
            assert self._passed.wait_for(lambda: self._waiting, HANGS), "no dub came"

    def close(self) -> None:
        """Nobody asks any more."""
        self._let_through(float("inf"))
        self._socket.close()

    def _let_through(self, most: float) -> None:
        with self._passed:
            self._most = most
            self._passed.notify_all()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                asking, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(asking,), daemon=True).start()

    def _answer(self, asking: socket.socket) -> None:
        with asking, suppress(OSError):  # who asked is gone
            drawn = int(asking.makefile().readline())
            with self._passed:
                if drawn >= self._most:
                    self._waiting += 1
                    self._passed.notify_all()
                    self._passed.wait_for(lambda: drawn < self._most, HANGS)
                    self._waiting -= 1
            asking.sendall(b"go")


def ask(port: int, drawn: int) -> None:
    """Wait at a gate, as somebody who has drawn so many frames."""
    with socket.create_connection(("127.0.0.1", port)) as gate:
        gate.sendall(b"%d\n" % drawn)
        gate.recv(2)


def program(gate: Gate | None) -> list[str]:
    """What Python runs as `posedub`, with a gate where there is one."""
    return ["-m", "tests.gate", str(gate.port)] if gate else ["-m", "model_server"]


def main() -> int:
    """`posedub` whose dubs ask before each batch; batches are small, also where there are many processors, and each
    frame is told at once."""
    from model_server.cli.main import main as posedub
    from model_server.engines.pcavs.engine import PcavsEngine
    from model_server.jobs.execution import runner
    from model_server.jobs.execution.ray_workers import cluster
    from model_server.pipeline.render import Rendering

    port, drawn, frames = int(sys.argv.pop(1)), Rendering._drawn, Rendering.frames

    def begun(self, wanted):  # noqa: ANN001, ANN202
        self.first = wanted.start
        return frames(self, wanted)

    def asking(self, batch):  # noqa: ANN001, ANN202
        if batch:
            ask(port, batch[0].index - self.first)
        return drawn(self, batch)

    Rendering._drawn, Rendering.frames = asking, begun
    runner.COMMIT_SECONDS = cluster.SENT_SECONDS = 0
    PcavsEngine.first_batch, PcavsEngine.batch_size = property(lambda engine: 2), property(lambda engine: 4)
    return posedub()


if __name__ == "__main__":
    sys.exit(main())
