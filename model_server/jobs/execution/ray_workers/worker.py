"""What a Ray actor does: engines loaded once, frames of any range of any dub, one preview beside them.

Nothing here knows Ray but what fetches an object; a test can call it as it is.
"""

from __future__ import annotations

import os
import platform
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model_server import __version__
from model_server.engines.base import WeightsInfo
from model_server.engines.runtime.value_cache import ValueCache
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest, replacing
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.ray_workers.parcels import Fault, Kept, Keys, Made, Missing, Progressed, Task, Told
from model_server.jobs.marks import frame_marking
from model_server.pipeline.analysis import Context, Kind, Quiet, Reporter, analyse, look_at
from model_server.pipeline.faces.parts import PartsMissing
from model_server.pipeline.media.encode import encode_png
from model_server.pipeline.preview import preview
from model_server.pipeline.render import Rendering
from model_server.pipeline.request import Precision
from model_server.scratch import make_folder
from model_server.surroundings import explained

# Jobs whose analysis is kept, so that another range of them begins at once.
JOBS_KEPT = 8
Fetch = Callable[[Any], bytes]


@dataclass
class MemoryResults:
    """Results of one dub's analysis; frames are looked up by the front, which has them all."""

    contents: dict[str, bytes] = field(default_factory=dict)
    fresh: dict[str, bytes] = field(default_factory=dict)

    def result(self, key: str) -> str | None:
        """The key itself, where it is known."""
        return key if key in self.contents else None

    def keep(self, key: str, content: bytes) -> str:
        """Remember a result."""
        self.contents[key] = self.fresh[key] = content
        return key

    def read(self, sha: str) -> bytes:
        """Content of a result."""
        return self.contents[sha]


@dataclass
class _Job:
    """A dub as this worker has it."""

    context: Context
    rendering: Rendering
    results: MemoryResults
    frames: range


class RenderWorker:
    """Makes frames on one device.

    Args:
        weights: what the front offers, each with what `fetch` gets its file from.
        choices: file in which the front keeps what was measured on its computer.
        fetch: an object of the store as bytes.
    """

    def __init__(
        self,
        weights: Sequence[tuple[WeightsInfo, Any]],
        device: str,
        choices: Path | None,
        fetch: Fetch,
    ) -> None:
        self._fetch = fetch
        self._folder = make_folder()
        (self._folder / "media").mkdir()
        offered = [_here(info, source, self._folder, fetch) for info, source in weights]
        known = choices if choices and choices.parent.is_dir() else self._folder / "precision.json"
        self._engines = EnginePool(offered, device, choices=known)
        self._memory = ValueCache()
        self._jobs = ValueCache(JOBS_KEPT)
        self._stopped: set[str] = set()
        self._ends: dict[str, int] = {}

    def ready(self) -> dict[str, str | int]:
        """Who this is: version, device, process, computer."""
        own = {"version": __version__, "device": self._engines.device}
        return {**own, "process": os.getpid(), "host": platform.node()}

    def load(self, weights: str, precision: Precision) -> Precision:
        """Have an engine ready; what its precision is, by measurement where "auto" is asked."""
        return self._engines.engine(weights, precision).precision

    def cut(self, token: str, end: int) -> None:
        """A call of `frames` makes none from `end` on that it has not begun."""
        if token in self._ends:
            self._ends[token] = end

    def stop(self, token: str) -> None:
        """Make no more frames of a call, or of all calls of a dub, which then end."""
        self._stopped.add(token)
        self._jobs.forget(token)

    def analyse(self, task: Task) -> Iterator[Any]:
        """Look through a dub's sources; yields `Progressed`, `Told`, then `Kept` and `Keys`, or a `Fault`."""
        return _spoken(lambda said: self._analyse(task, said))

    def _analyse(self, task: Task, said: queue.Queue[Any]) -> None:
        report = _Speaking(said)
        job = self._job(task, report)
        for notice in self._engines.notices:
            report.warn(task.request.first, task.request.end, "device", notice)
        said.put(Kept(job.results.fresh))
        wanted = job.rendering.wanted(range(task.request.first, task.request.end))
        said.put(Keys([(one.index, one.key) for one in wanted]))

    def look(self, task: Task, kind: Kind, share: frozenset[int]) -> Iterator[Any]:
        """Look through one source of a dub, as far as it cannot be shared out, and read a share of the rest.

        Yields `Progressed`, then `Kept`, and `Missing` if others have to read something; or a `Fault`.
        """
        return _spoken(lambda said: self._look(task, kind, share, said))

    def _look(self, task: Task, kind: Kind, share: frozenset[int], said: queue.Queue[Any]) -> None:
        results = MemoryResults(dict(task.seeds))
        context, _ = self._context(task, results, _Unwarned(said))
        missing: tuple[int, ...] = ()
        try:
            look_at(kind, task.request, replace(context, share=share))
        except PartsMissing as others:
            missing = others.numbers
        said.put(Kept(results.fresh))
        if missing:
            said.put(Missing(missing))

    def frames(self, task: Task, first: int, end: int) -> Iterator[Any]:
        """Frames `first <= k < end` as `Made`, in order, `Told` of what deserves a look, or a `Fault`."""
        self._ends[task.token] = end
        try:
            rendering, last = self._job(task, Quiet()).rendering, None
            for frame in rendering.frames(range(first, end), lambda: self._ends.get(task.token, 0)):
                if last:
                    yield last
                last = Made(frame.index, frame.key, frame.png)
                if self._stopped & {task.token, task.job}:
                    break
            if last:  # behind it nobody listens
                for one in rendering.covered(range(first, last.index + 1)):
                    yield Told(one.first, one.end, one.kind, one.message)
                yield last
        except Exception as error:  # noqa: BLE001 - process boundary: errors travel as plain values
            yield _fault(error)
        finally:
            self._stopped.discard(task.token)
            del self._ends[task.token]

    def preview(self, task: Task) -> Any:
        """The request's one frame, before what else is being drawn; a tuple (key, PNG, approximate), or a `Fault`."""
        results = MemoryResults(dict(task.seeds))
        try:
            context, mark = self._context(task, results, Quiet())
            made = preview(task.request, context, encode_png, mark)
            return results.fresh, made.png, made.approximate
        except Exception as error:  # noqa: BLE001 - process boundary
            return _fault(error)

    def _job(self, task: Task, report: Reporter) -> _Job:
        """The dub, looked through now or before; dubs do not wait for each other."""
        job: _Job = self._jobs.get(task.job, lambda: self._begun(task, report))
        return job

    def _begun(self, task: Task, report: Reporter) -> _Job:
        results = MemoryResults(dict(task.seeds))
        context, mark = self._context(task, results, report)
        rendering = Rendering(analyse(task.request, context), context, encode_png, mark)
        return _Job(context, rendering, results, range(task.request.first, task.request.end))

    def _context(self, task: Task, results: MemoryResults, report: Reporter) -> tuple[Context, Any]:
        engine = self._engines.engine(task.weights, task.precision)
        media = _Media(task.media, self._folder / "media", self._fetch)
        context = Context(engine, media, results, report, lambda: task.job in self._stopped, self._memory)
        return context, frame_marking(task.request, engine.weights, task.setup)


class _Speaking:
    """A reporter that the front hears."""

    def __init__(self, said: queue.Queue[Any]) -> None:
        self._said = said

    def progress(self, phase: str, done: int, total: int) -> None:
        """Of an analysis."""
        self._said.put(Progressed(phase, done, total))

    def warn(self, first: int, end: int, kind: str, message: str) -> None:
        """About frames."""
        self._said.put(Told(first, end, kind, message))


class _Unwarned(_Speaking):
    """One that leaves warnings to the analysis of the whole dub."""

    def warn(self, first: int, end: int, kind: str, message: str) -> None:
        """It will be said."""


def _spoken(work: Callable[[queue.Queue[Any]], None]) -> Iterator[Any]:
    """What work says while it goes on in a thread, and why it failed."""
    said: queue.Queue[Any] = queue.Queue()

    def run() -> None:
        try:
            work(said)
        except Exception as error:  # noqa: BLE001 - thread boundary: the front must hear of it
            said.put(_fault(error))
        finally:
            said.put(None)

    threading.Thread(target=run, name="analysis", daemon=True).start()
    while (one := said.get()) is not None:
        yield one


class _Media:
    """Paths of assets: the front's own file where this computer sees it, else a copy of what it sent."""

    def __init__(self, sources: Mapping[str, tuple[str, Any]], folder: Path, fetch: Fetch) -> None:
        self._sources, self._folder, self._fetch = sources, folder, fetch

    def __call__(self, asset: str) -> Path:
        shared, sent = self._sources[asset]
        if Path(shared).is_file():
            return Path(shared)
        path = self._folder / asset
        if not path.exists():
            with replacing(path) as part:
                part.write_bytes(self._fetch(sent))
        return path


def _here(info: WeightsInfo, source: Any, folder: Path, fetch: Fetch) -> WeightsInfo:
    """Weights whose file lies on this computer."""
    if info.path is None:
        return info
    with suppress(PoseDubError):
        if file_digest(info.path) == info.id:
            return info
    path = folder / info.id / info.path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(fetch(source))
    return replace(info, path=path)


def _fault(error: Exception) -> Fault:
    problem = explained(error)
    if problem is None:
        return Fault(f"{type(error).__name__}: {error}", None)
    return Fault(problem.message, problem.kind.value)


def raised(fault: Fault) -> Exception:
    """The error that a fault stands for."""
    return PoseDubError(fault.message, ErrorKind(fault.kind)) if fault.kind else RuntimeError(fault.message)
