"""The server as its clients meet it: waits, frame rates through gRPC, long clips, several jobs at once, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from model_server import scratch
from model_server.bench.addon import addon_dub, available
from model_server.bench.figures import FRAME_RATE, Row, figure
from model_server.bench.inputs import ActorInputs, DubInputs, Inputs, with_speech_of
from model_server.bench.server import Course, MemoryWatch, Server, help_seconds, running_server
from model_server.engines.base import WeightsInfo
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import write_weights
from model_server.engines.weights_file import describe
from model_server.jobs.model import FrameMade
from model_server.pipeline.request import DubRequest


@dataclass(frozen=True)
class Plan:
    """What is measured on servers.

    Attributes:
        inputs: of the dubs.
        weights: that the servers offer.
        seconds: of the clip for waits, rates and concurrent jobs.
        lengths: clips of these many seconds, each on a fresh server.
        jobs: how many at once.
        repeats: of what is measured on a warm server.
    """

    inputs: DubInputs
    weights: WeightsInfo
    device: str
    precision: str
    seconds: float
    lengths: Sequence[float]
    jobs: int
    repeats: int

    @property
    def group(self) -> str:
        """What the rows belong to."""
        if isinstance(self.inputs, ActorInputs):
            return f"{self.weights.name}, {self.inputs.steps} step{'s' if self.inputs.steps > 1 else ''}"
        return self.weights.preset


def serve_rows(plan: Plan, say: Callable[[str], None]) -> list[Row]:
    """All rows of one set of weights."""
    with scratch.folder() as folder:
        bench = _Bench(replace(plan, weights=with_file(plan.weights, folder)), folder, say)
        return [*bench.waits(), *bench.long_clips(), *bench.concurrent_jobs()]


def actor_rows(plan: Plan, say: Callable[[str], None]) -> list[Row]:
    """Waits and rates of an actor's weights; long clips where it is drawn in one step."""
    assert isinstance(plan.inputs, ActorInputs)
    with scratch.folder() as folder:
        bench = _Bench(plan, folder, say)
        return [*bench.waits(), *(bench.long_clips() if plan.inputs.steps == 1 else [])]


class _Bench:
    """Measurements on fresh servers; seeds set dubs apart, so that none is answered from an earlier one."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._servers = 0
        self._group = plan.group

    def waits(self) -> list[Row]:
        """Start, first frames cold and warm, previews, and the frame rate of whole clips."""
        plan, repeats = self._plan, range(self._plan.repeats)
        helps = [help_seconds() for _ in repeats]
        with self._server(plan.seconds, "waits") as (server, inputs):
            cold = server.dub(inputs.request(plan.seconds, seed=0))
            with MemoryWatch(server) as memory:
                warm = [server.dub(inputs.request(plan.seconds, seed=1 + n)) for n in repeats]
            previews = [server.preview(inputs.request(plan.seconds, seed=1000 + n)) for n in repeats]
            saved = self._by_the_addon(server, inputs)
        rows = [
            ("`posedub --help`", "s", helps),
            ("server ready", "s", [server.ready]),
            ("first frame, cold", "ms", [1000 * cold.frames[0]]),
            ("first frame, warm", "ms", [1000 * course.frames[0] for course in warm]),
            ("preview of one frame, warm", "ms", [1000 * seconds for seconds in previews]),
            (f"{plan.seconds:g} s through gRPC, cold", FRAME_RATE, [_rate(cold)]),
            (f"{plan.seconds:g} s through gRPC, warm", FRAME_RATE, [_rate(course) for course in warm]),
            ("first to last frame, warm", FRAME_RATE, [_sustained(course) for course in warm]),
            ("first to last file of the add-on's client, warm", FRAME_RATE, [_sustained(course) for course in saved]),
            ("server's memory", "MiB", [memory.peak]),
        ]
        return [figure(self._group, name, unit, *values) for name, unit, values in rows if values]

    def _by_the_addon(self, server: Server, inputs: DubInputs) -> list[Course]:
        if not (available() and isinstance(inputs, Inputs)):
            return []
        folders = [self._folder / f"addon-{n}" for n in range(self._plan.repeats)]
        requests = [inputs.request(self._plan.seconds, seed=2000 + n) for n in range(self._plan.repeats)]
        return [addon_dub(server, inputs, *pair) for pair in zip(requests, folders, strict=True)]

    def long_clips(self) -> list[Row]:
        """Time per frame and memory by clip length, and how both grow."""
        costs: dict[float, tuple[float, float]] = {}
        rows: list[Row] = []
        for seconds in self._plan.lengths:
            reading, cost, peak = self._long_clip(seconds)
            costs[seconds] = cost, peak
            rows.append(figure(self._group, f"clip of {seconds:g} s, its middle frame alone", "s", reading))
            rows.append(figure(self._group, f"clip of {seconds:g} s", "ms/frame", cost))
            rows.append(figure(self._group, f"clip of {seconds:g} s, server's memory", "MiB", peak))
        return rows + self._growth(costs)

    def _long_clip(self, seconds: float) -> tuple[float, float, float]:
        """Seconds for a first frame, for which the whole pose source is read; ms per frame; MiB."""
        with self._server(seconds, f"clip of {seconds:g} s") as (server, inputs):
            server.dub(_middle_frame(inputs.request(1.0)))
            reading = server.dub(_middle_frame(inputs.request(seconds))).end
            with MemoryWatch(server) as memory:
                course = server.dub(inputs.request(seconds, seed=1))
        return reading, 1000 / _rate(course), memory.peak

    def _growth(self, costs: dict[float, tuple[float, float]]) -> list[Row]:
        if len(costs) < 2:
            return []
        shortest, longest = min(costs), max(costs)
        (short_cost, short_peak), (long_cost, long_peak) = costs[shortest], costs[longest]
        words = f"{longest:g} s against {shortest:g} s"
        return [
            figure(self._group, f"time per frame, {words}", "x", long_cost / short_cost),
            figure(self._group, f"memory growth, {words}", "MiB", long_peak - short_peak),
        ]

    def concurrent_jobs(self) -> list[Row]:
        """The same number of dubs one after the other and all at once; poses are read beforehand."""
        plan, count = self._plan, self._plan.jobs
        if count < 2:
            return []
        with self._server(plan.seconds, f"{count} jobs") as (server, inputs):
            server.dub(_middle_frame(inputs.request(plan.seconds)))
            requests = [inputs.request(plan.seconds, seed=1 + n) for n in range(2 * count)]
            with MemoryWatch(server) as alone:
                sequence = _seconds(lambda: [server.dub(request) for request in requests[:count]])
            with MemoryWatch(server) as together:
                courses: list[Course] = []
                at_once = _seconds(lambda: courses.extend(_at_once(server, requests[count:])))
            previews = self._previews_beside(server, inputs)
        rows = [
            (f"{count} jobs in sequence", "s", [sequence]),
            (f"{count} jobs at once", "s", [at_once]),
            (f"{count} jobs, at once against in sequence", "x", [at_once / sequence]),
            (f"{count} jobs at once, each one's first frame", "s", [course.frames[0] for course in courses]),
            (f"{count} jobs at once, each one's end", "s", [course.end for course in courses]),
            (f"preview of one frame beside {count} jobs", "ms", [1000 * seconds for seconds in previews]),
            (f"{count} jobs in sequence, server's memory", "MiB", [alone.peak]),
            (f"{count} jobs at once, server's memory", "MiB", [together.peak]),
        ]
        return [figure(self._group, name, unit, *values) for name, unit, values in rows]

    def _previews_beside(self, server: Server, inputs: DubInputs) -> list[float]:
        """Seconds for previews while jobs are at work."""
        plan = self._plan
        jobs = [server.client.submit(inputs.request(plan.seconds, seed=3000 + n)) for n in range(plan.jobs)]
        for job in jobs:
            next(event for event in server.client.events(job) if isinstance(event, FrameMade))
        seconds = [server.preview(inputs.request(plan.seconds, seed=4000 + n)) for n in range(plan.repeats)]
        for job in jobs:
            server.client.cancel(job)
        return seconds

    @contextmanager
    def _server(self, seconds: float, purpose: str) -> Iterator[tuple[Server, DubInputs]]:
        """A fresh server that holds the media, and inputs with enough sound."""
        plan = self._plan
        self._say(f"{self._group}: server, {purpose}")
        self._servers += 1
        data = self._folder / f"server-{self._servers}"
        inputs = with_speech_of(plan.inputs, seconds, self._folder)
        options = ["--weights", str(plan.weights.path), "--device", plan.device, "--precision", plan.precision]
        with running_server(data, options) as server:
            for asset, path in inputs.files().items():
                server.client.add(asset, path)
            yield server, inputs


def with_file(info: WeightsInfo, folder: Path) -> WeightsInfo:
    """A server takes its weights from a file, so built-in values are written to one."""
    if info.path:
        return info
    path = folder / "untrained.safetensors"
    write_weights(path, untrained_state(info.preset), info.preset, "untrained", info.name)
    return describe(path)


def _middle_frame(request: DubRequest) -> DubRequest:
    middle = request.spec.frame_count // 2
    return replace(request, first=middle, end=middle + 1)


def _rate(course: Course) -> float:
    """Frames per second from asking to the end."""
    return len(course.frames) / course.end


def _sustained(course: Course) -> float:
    """Frames per second between the first and the last."""
    first, *rest = course.frames
    return len(rest) / (rest[-1] - first) if rest else _rate(course)


def _at_once(server: Server, requests: Sequence[DubRequest]) -> list[Course]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(server.dub, requests))


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start
