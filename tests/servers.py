"""A real `posedub serve` process for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.gate import Gate, program
from tests.limits import HANGS

NO_PROXY = (("grpc.enable_http_proxy", 0),)
# gRPC looks again after a second, which is longer than many servers take to start.
_SOON = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100))


def free_port(host: str = "127.0.0.1") -> int:
    """A port of the loopback that nobody serves on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def wait_until_stopping(address: str) -> None:
    """Go on when the server there has begun to leave."""
    with grpc.insecure_channel(address, NO_PROXY) as channel:
        for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=HANGS):
            if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                return


class ServerProcess:
    """`posedub serve` on a free port over one data folder; `start` may be called again after `kill`.

    Its dubs wait at a gate, where there is one.

    Args:
        environment: variables that it gets besides this process's.
    """

    def __init__(
        self,
        data: Path,
        options: Sequence[str] = (),
        gate: Gate | None = None,
        host: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self.environment = {**os.environ, **(environment or {})}
        self._program = program(gate)
        self.options = [*options, "--host", host]
        self.port = free_port(host)
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.log = data.with_suffix(".log")
        self.process: subprocess.Popen | None = None

    def start(self) -> ServerProcess:
        """Start the process and wait until it serves."""
        command = [sys.executable, *self._program, "serve", "--port", str(self.port), "--data", str(self.data)]
        self.process = self._begun([*command, *self.options])
        with self._channel() as channel:
            self._await(grpc.channel_ready_future(channel))
        return self

    def _begun(self, command: list[str]) -> subprocess.Popen:
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stderr=log, env=self.environment)

    def _await(self, ready: grpc.Future) -> None:
        """Until it serves; one that has ended never will."""
        limit = time.monotonic() + HANGS
        while True:
            try:
                return ready.result(1)
            except grpc.FutureTimeoutError:
                assert self.process.poll() is None and time.monotonic() < limit, self.log.read_text(errors="replace")

    def _channel(self) -> grpc.Channel:
        if "--tls-cert" not in self.options:
            return grpc.insecure_channel(self.address, [*NO_PROXY, *_SOON])
        given = {name: Path(file).read_bytes() for name, file in zip(self.options, self.options[1:], strict=False)
                 if name.startswith("--tls-")}  # fmt: skip
        cert, key = given["--tls-cert"], given["--tls-key"]
        known = grpc.ssl_channel_credentials(given.get("--tls-client-ca", cert), key, cert)
        options = [
            *NO_PROXY,
            *_SOON,
            ("grpc.ssl_target_name_override", "localhost"),
        ]  # the certificate's, at any address
        return grpc.secure_channel(self.address, known, options)

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(HANGS)

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
