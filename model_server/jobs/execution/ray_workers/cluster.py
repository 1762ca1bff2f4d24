"""Ray itself: joining a cluster, its actors, what they raise. The only module that imports it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_server.engines.base import WeightsInfo
from model_server.errors import ErrorKind, PoseDubError, first_line
from model_server.jobs.execution.ray_workers.node import STORE_MIB, OwnNode, authenticate, is_node_of
from model_server.pipeline.request import Precision

RESOURCE = "posedub_worker"
"""What a node of the cluster has one of for each worker that may run there."""
NAMESPACE = "posedub"
LACKING = "Ray is not installed; install it: pip install 'posedub[cluster]'."
# Messages that a worker may be ahead of the front, each with the frames of so many seconds: Ray needs about a
# millisecond for a message on either side, which quick frames share.
AHEAD = 8
SENT_SECONDS = 0.1
READY_SECONDS = 300.0
CALL_SECONDS = 20.0
log = logging.getLogger(__name__)


class WorkerLostError(Exception):
    """A worker, or its computer, is gone."""


@dataclass(frozen=True)
class ClusterConfig:
    """How a cluster is joined, and what its workers are.

    Attributes:
        address: HOST:PORT of its head; "auto" for one that runs here, else one that is started here.
        token_file: what all of its processes know.
        cores: of each worker on processors.
    """

    address: str
    token_file: Path
    cores: int = 1


def ray_library() -> Any:
    """Ray; PoseDubError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise PoseDubError(LACKING, ErrorKind.UNSUPPORTED) from error
    return ray


class Cluster:
    """A Ray cluster that was joined.

    Raises:
        PoseDubError: it does not answer, or not to this token.
    """

    def __init__(self, config: ClusterConfig) -> None:
        authenticate(config.token_file, make=config.address == "auto")  # which Ray reads when it is imported
        self._config, self._ray = config, ray_library()
        self._node: OwnNode | None = None
        given: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if config.address != "auto":
                self._node = None if is_node_of(config.address) else OwnNode(config.address)
                self._ray.init(config.address, **given)
            else:
                self._begin(given)
        except Exception as error:  # noqa: BLE001 - Ray raises errors of many kinds
            self._end_node()
            raise PoseDubError(
                f"The Ray cluster at {config.address} does not answer, or not to the token in {config.token_file} "
                f"({first_line(error)}); check both.",
                ErrorKind.UNAVAILABLE,
            ) from error

    def _begin(self, given: Mapping[str, Any]) -> None:
        """Join the cluster that runs on this computer; where none does, start one as long as this process lives."""
        try:
            self._ray.init("auto", **given)
        except ConnectionError:
            workers = max((os.cpu_count() or 1) // self._config.cores, 1)
            self._ray.init(
                include_dashboard=False, resources={RESOURCE: workers}, object_store_memory=STORE_MIB * 2**20, **given
            )

    @property
    def head(self) -> tuple[str, int]:
        """Where the cluster's head listens: host and port."""
        host, _, port = self._ray.get_runtime_context().gcs_address.rpartition(":")
        return host, int(port)

    @property
    def workers(self) -> int:
        """How many there may be now."""
        return int(sum(node["Resources"].get(RESOURCE, 0) for node in self._ray.nodes() if node["Alive"]))

    @property
    def has_gpus(self) -> bool:
        """Whether a node has a graphics card."""
        return bool(self._ray.cluster_resources().get("GPU"))

    def put(self, content: bytes) -> Any:
        """An object that workers can fetch; it is kept as long as somebody has what is returned."""
        return self._ray.put(content)

    def start(self, weights: Sequence[tuple[WeightsInfo, Any]], device: str, choices: Path | None) -> RemoteWorker:
        """A new worker, which may still have to begin; arguments as of `RenderWorker`.

        Raises:
            WorkerLostError: it could not be started.
        """
        cores = str(self._config.cores)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), cores)
        made = self._ray.remote(
            num_cpus=0,  # else Ray does not place the next one after a restart
            num_gpus=1 if device == "cuda" else 0,
            resources={RESOURCE: 1},
            max_restarts=0,
            concurrency_groups={"frames": 1, "analysis": 1, "preview": 1, "control": 2},
            runtime_env={"env_vars": {**threads, "OMP_WAIT_POLICY": "PASSIVE"}},
        )(_actor_class())
        return RemoteWorker(self._ray, made.remote(list(weights), device, choices))

    def leave(self) -> None:
        """The workers end."""
        self._ray.shutdown()
        self._end_node()

    def _end_node(self) -> None:
        if self._node:
            self._node.end()


class RemoteWorker:
    """A worker somewhere. Every call raises WorkerLostError where it is gone."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def ready(self, seconds: float = CALL_SECONDS) -> Mapping[str, Any]:
        """As of `RenderWorker`."""
        return self._got(self._actor.ready.options(concurrency_group="control").remote(), seconds)

    def load(self, weights: str, precision: Precision) -> Any:
        """As of `RenderWorker`."""
        loaded = self._actor.load.options(concurrency_group="control").remote(weights, precision)
        return self._got(loaded, READY_SECONDS)

    def cut(self, token: str, end: int) -> None:
        """As of `RenderWorker`; nobody waits for it."""
        self._actor.cut.options(concurrency_group="control").remote(token, end)

    def stop(self, token: str) -> None:
        """As of `RenderWorker`; nobody waits for it."""
        self._actor.stop.options(concurrency_group="control").remote(token)

    def analyse(self, task: Any) -> Iterator[Any]:
        """As of `RenderWorker`."""
        return self._streamed(self._actor.analyse, "analysis", task)

    def look(self, task: Any, kind: str, share: frozenset[int]) -> Iterator[Any]:
        """As of `RenderWorker`."""
        return self._streamed(self._actor.look, "analysis", task, kind, share)

    def frames(self, task: Any, first: int, end: int) -> Iterator[Any]:
        """As of `RenderWorker`."""
        for group in self._streamed(self._actor.frames, "frames", task, first, end):
            yield from group

    def preview(self, task: Any) -> Any:
        """As of `RenderWorker`."""
        return self._got(self._actor.preview.options(concurrency_group="preview").remote(task), READY_SECONDS)

    def end(self) -> None:
        """The process goes."""
        self._ray.kill(self._actor)

    def _streamed(self, method: Any, group: str, *given: Any) -> Iterator[Any]:
        with _lost(self._ray):
            stream = method.options(
                num_returns="streaming", concurrency_group=group, _generator_backpressure_num_objects=AHEAD
            ).remote(*given)
            for reference in stream:
                yield self._ray.get(reference)

    def _got(self, reference: Any, seconds: float) -> Any:
        with _lost(self._ray):
            return self._ray.get(reference, timeout=seconds)


class _lost:  # noqa: N801 - used as a function
    """Ray's errors become WorkerLostError, but for those of a worker's own code."""

    def __init__(self, ray: Any) -> None:
        self._lost, self._raised = ray.exceptions.RayError, ray.exceptions.RayTaskError

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, self._lost) and not isinstance(error, self._raised):
            raise WorkerLostError(first_line(error)) from error


def _actor_class() -> type:
    """`RenderWorker` as the actor's own process makes it."""

    class PoseDubWorker:
        """Loads nothing before it runs where it belongs."""

        def __init__(self, weights: Any, device: str, choices: Path | None) -> None:
            import ray

            from model_server.jobs.execution.ray_workers.worker import RenderWorker

            self._worker = RenderWorker(weights, device, choices, ray.get)

        def ready(self) -> Mapping[str, Any]:
            return self._worker.ready()

        def load(self, weights: str, precision: Any) -> Any:
            return self._worker.load(weights, precision)

        def cut(self, token: str, end: int) -> None:
            self._worker.cut(token, end)

        def stop(self, token: str) -> None:
            self._worker.stop(token)

        def analyse(self, task: Any) -> Iterator[Any]:
            yield from self._worker.analyse(task)

        def look(self, task: Any, kind: Any, share: frozenset[int]) -> Iterator[Any]:
            yield from self._worker.look(task, kind, share)

        def frames(self, task: Any, first: int, end: int) -> Iterator[Any]:
            from model_server.jobs.execution.runner import grouped

            yield from grouped(self._worker.frames(task, first, end), SENT_SECONDS)

        def preview(self, task: Any) -> Any:
            return self._worker.preview(task)

    return PoseDubWorker
