"""What Prometheus reads of a server: queue, frames, errors, memory, store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from model_server import __version__
from model_server.engines.device import memory_use
from model_server.jobs.execution.making import Making
from model_server.jobs.execution.tally import Tally
from model_server.jobs.store import Store

# A store of millions of files is not walked through more often.
STORE_SECONDS = 60.0


def registry(store: Store, tally: Tally, device: str, making: Making | None = None) -> CollectorRegistry:
    """All metrics of a server; those of its process beside its own."""
    made = CollectorRegistry()
    made.register(_ServerMetrics(store, tally, device, making))
    for collector in list(REGISTRY._collector_to_names):  # the process's memory and time, Python's own
        made.register(collector)
    return made


class _ServerMetrics:
    """Reads the values when it is asked for them."""

    def __init__(self, store: Store, tally: Tally, device: str, making: Making | None) -> None:
        self._store, self._tally, self._device, self._making = store, tally, device, making
        self._lock = threading.Lock()
        self._measured = (float("-inf"), 0, 0)

    def describe(self) -> list[Metric]:
        """Nothing is read before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of now."""
        info = GaugeMetricFamily("posedub_info", "Version and device.", labels=["version", "device"])
        info.add_metric([__version__, self._device], 1)
        yield info
        workers = self._making.workers if self._making else 1
        yield GaugeMetricFamily("posedub_workers", "Workers that make frames.", workers)
        tally = self._tally
        frames = {"drawn": tally.drawn, "reused": tally.reused}
        yield _labelled(GaugeMetricFamily, "posedub_jobs", "Jobs in the store.", "state", self._store.counts())
        yield _labelled(CounterMetricFamily, "posedub_frames", "Frames committed since the start.", "source", frames)
        yield _labelled(CounterMetricFamily, "posedub_jobs_ended", "Jobs ended since the start.", "state", tally.ended)
        yield _labelled(CounterMetricFamily, "posedub_errors", "Jobs and calls that failed.", "kind", tally.errors)
        size, files, free = self._store_size()
        yield GaugeMetricFamily("posedub_store_bytes", "Bytes of the store's files.", size)
        yield GaugeMetricFamily("posedub_store_files", "Files in the store.", files)
        yield GaugeMetricFamily("posedub_store_free_bytes", "Bytes free on the store's disk.", free)
        used = memory_use(self._device)
        yield _labelled(GaugeMetricFamily, "posedub_gpu_memory_bytes", "Memory of the graphics card.", "kind", used)

    def _store_size(self) -> tuple[int, int, int]:
        with self._lock:
            measured, size, files = self._measured
            if time.monotonic() - measured > STORE_SECONDS:
                sizes = [one.size for one in self._store.blobs.files()]
                size, files = sum(sizes), len(sizes)
                self._measured = time.monotonic(), size, files
        return size, files, self._store.blobs.free()


def _labelled(family: Any, name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    """A metric with one value for each word of a label."""
    metric = family(name, text, labels=[label])
    for word, value in dict(values).items():
        metric.add_metric([word], value)
    return metric
