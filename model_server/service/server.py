"""The server process: one data folder, one worker, one gRPC front."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from model_server import __version__
from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.making import Making
from model_server.jobs.execution.runner import Runner
from model_server.jobs.execution.threads import FARMED, SIDE_BY_SIDE, Worker
from model_server.jobs.retention import Housekeeping, Limits
from model_server.jobs.store import Store
from model_server.service import rpc
from model_server.service.address import ServerAddress
from model_server.service.auth import Security, TokenGate
from model_server.service.listening import why_not
from model_server.service.messages import SERVICE
from model_server.service.operations import Operations
from model_server.service.servicer import ChangeSignal, Servicer

GRACE_SECONDS = 5.0
PARENT_POLL_SECONDS = 1.0
# Threads for what clients ask where others draw: most of them wait for a worker, or for the disk.
ASKED_AT_ONCE = 64
OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a lottery
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config:
    """How a server is started.

    Attributes:
        host: a name or an IP address, without brackets.
        port: 0 lets the system choose.
        parent: process id; the server leaves when that process does.
        store: URL of the database that lists the dubs, "" for a file in the data folder.
        blobs: URL of the store's files, "" for the data folder.
        making: joins those who make frames, None where this process makes them.
        metrics: where metrics and probes are served by HTTP, None for nowhere.
        limits: what the data folder may hold.
    """

    data: Path
    engines: EnginePool
    host: str = "127.0.0.1"
    port: int = 50761
    security: Security = Security()
    parent: int | None = None
    limits: Limits = Limits()
    metrics: ServerAddress | None = None
    store: str = ""
    blobs: str = ""
    making: Callable[[Store, EnginePool, threading.Event], Making] | None = None


def serve(config: Config) -> None:
    """Serve until SIGTERM, SIGINT or the parent's end; running jobs go back into the queue."""
    config.security.check_host(config.host)
    asyncio.run(_Server(config).run())


class _Server:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._store = Store(config.data, config.store, config.blobs)
        self._stopping = threading.Event()
        self._making = config.making(self._store, config.engines, self._stopping) if config.making else None
        self._runner = Runner(self._store, config.engines, stopping=self._stopping, making=self._making)
        self._worker = Worker(self._store, self._runner, self._stopping, FARMED if self._making else SIDE_BY_SIDE)
        self._housekeeping = Housekeeping(self._store, config.limits, self._stopping)
        self._health = health.aio.HealthServicer()
        self._operations = self._watched()

    async def run(self) -> None:
        leave = asyncio.Event()
        if self._making:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(ASKED_AT_ONCE, "asked"))
        front = self._front()
        port = self._bind(front)
        await front.start()
        self._worker.start()
        self._housekeeping.start()
        for name in ("", SERVICE.full_name):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        if self._operations:
            self._operations.start()
            place = ServerAddress(self._operations.host, self._operations.port).target
            log.info("metrics on http://%s/metrics, probes beside them: /healthz, /readyz", place)
        names = ", ".join(f"{one.name} ({one.kind})" for one in self._config.engines.weights)
        place = ServerAddress(self._config.host, port).target
        log.info("PoseDub %s serves on %s; data in %s", __version__, place, self._config.data)
        log.info("device %s; weights: %s", self._config.engines.drawing_device, names)
        self._on_signals(leave)
        await self._until(leave)
        log.info("stopping")
        self._stopping.set()
        await self._health.enter_graceful_shutdown()
        await asyncio.to_thread(self._worker.stop)
        await asyncio.to_thread(self._housekeeping.stop)
        if self._making:
            await asyncio.to_thread(self._making.stop)
        await front.stop(GRACE_SECONDS)
        if self._operations:
            await asyncio.to_thread(self._operations.stop)

    def _watched(self) -> Operations | None:
        place, device = self._config.metrics, self._config.engines.drawing_device
        if place is None:
            return None
        return Operations(place, self._store, self._runner.tally, device, self._stopping, self._making)

    def _front(self) -> grpc.aio.Server:
        security = self._config.security
        gates = [TokenGate(security.token)] if security.token else []
        front = grpc.aio.server(interceptors=gates, options=OPTIONS)
        changed = ChangeSignal(asyncio.get_running_loop())
        self._store.listeners.append(changed.announce)
        servicer = Servicer(self._store, self._config.engines, self._runner, changed, self._stopping)
        front.add_generic_rpc_handlers((rpc.handlers(servicer),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, front)
        return front

    def _bind(self, front: grpc.aio.Server) -> int:
        place, tls = ServerAddress(self._config.host, self._config.port), self._config.security.tls
        try:
            if not tls:
                return front.add_insecure_port(place.target)
            certificate, key = tls
            callers = self._config.security.client_ca or None
            known = grpc.ssl_server_credentials([(key, certificate)], callers, require_client_auth=callers is not None)
            return front.add_secure_port(place.target, known)
        except RuntimeError as error:
            raise PoseDubError(why_not(place), ErrorKind.UNAVAILABLE) from error

    def _on_signals(self, leave: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
                loop.add_signal_handler(name, leave.set)

    async def _until(self, leave: asyncio.Event) -> None:
        pid = self._config.parent
        parent = _process(pid) if pid else None
        while not leave.is_set() and (pid is None or _lives(parent)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(leave.wait(), PARENT_POLL_SECONDS if pid else None)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _lives(process: psutil.Process | None) -> bool:
    """Whether a process has not ended: neither another one has its number now, nor does its parent ignore its end."""
    try:
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it lives, and says nothing about itself
        return True
