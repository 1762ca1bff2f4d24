"""The fast path: the pipeline with the engine the server takes, as a whole and stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from model_server.bench.decoded import Decoded
from model_server.bench.figures import Stopwatch
from model_server.bench.reference import ENCODE, GENERATOR, IDENTITY, MEL, POSE, SPEECH
from model_server.engines.base import Engine, Views
from model_server.engines.pcavs.conditioning import GAIN
from model_server.engines.pcavs.engine import Identity, PcavsEngine
from model_server.features import MelWindows
from model_server.pipeline.analysis import Context, analyse
from model_server.pipeline.media.encode import encode_png
from model_server.pipeline.render import FRAMES_AT_ONCE, Rendering
from model_server.pipeline.request import DubRequest, DubSpec, parameters_of

VIEWS_AT_ONCE = 16


@dataclass(frozen=True)
class FastRun:
    """Frames of one run as PNG files.

    Attributes:
        seconds: from the request to the last frame.
        decoding: the part of it before the first drawing that no network had; decoding and finding faces.
    """

    frames: list[bytes]
    seconds: float
    decoding: float


class _Forgetful:
    """Results that nobody has."""

    def result(self, key: str) -> str | None:
        return None

    def keep(self, key: str, content: bytes) -> str:
        return ""

    def read(self, sha: str) -> bytes:
        raise KeyError(sha)


class _ClockedEngine:
    """An engine that notes how long its encoders take."""

    def __init__(self, engine: PcavsEngine, watch: Stopwatch) -> None:
        self._engine = engine
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def identity_of(self, portrait: Views | None, size: int) -> Identity:
        with self._watch.stage("encoders"):
            return self._engine.identity_of(portrait, size)

    def pose_codes(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self._watch.stage("encoders"):
            return self._engine.pose_codes(crops)


class _DecodingReport:
    """Notes how long everything but the encoders took when drawing begins."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch
        self.start = perf_counter()
        self.decoding: float | None = None

    def progress(self, phase: str, done: int, total: int) -> None:
        if phase == "frames" and self.decoding is None:
            self.decoding = perf_counter() - self.start - self._watch.seconds["encoders"]

    def warn(self, first: int, end: int, kind: str, message: str) -> None:
        pass


def run_dub(request: DubRequest, engine: PcavsEngine, media: Callable[[str], Path]) -> FastRun:
    """One whole dub through the pipeline, with nothing remembered from earlier ones."""
    engine.forget()
    watch = Stopwatch(engine.device)
    report = _DecodingReport(watch)
    context = Context(cast(Engine, _ClockedEngine(engine, watch)), media, _Forgetful(), report)
    rendering = Rendering(analyse(request, context), context)
    report.progress("frames", 0, request.end - request.first)
    frames = [frame.png for frame in rendering.frames(range(request.first, request.end))]
    return FastRun(frames, perf_counter() - report.start, report.decoding or 0.0)


def stage_seconds(engine: PcavsEngine, media: Decoded, spec: DubSpec, count: int) -> Mapping[str, float]:
    """What each stage takes for the first `count` frames when nothing else runs beside it."""
    engine.forget()
    watch = Stopwatch(engine.device)
    with watch.stage(MEL):
        windows = _windows(media, spec, count)
    with watch.stage(IDENTITY):
        identity = engine.identity_of(media.portrait, media.portrait.drawn.shape[0])
    with watch.stage(POSE):
        needed, view_of = np.unique(media.view_of[:count], return_inverse=True)
        parts = np.array_split(needed, -(-len(needed) // VIEWS_AT_ONCE))
        codes = np.concatenate([engine.pose_codes(media.views[part]) for part in parts])[view_of]
    with watch.stage(SPEECH):
        for rows in _batches(engine, count):
            engine.speech_contents(windows[rows])
    with watch.stage(GENERATOR):
        drawn = [engine.frames(identity, windows[rows], codes[rows], parameters_of(spec)[GAIN], spec.seed)
                 for rows in _batches(engine, count)]  # fmt: skip
    with watch.stage(ENCODE):
        for picture in chain.from_iterable(drawn):
            encode_png(picture)
    return watch.seconds


def _windows(media: Decoded, spec: DubSpec, count: int) -> NDArray[np.float32]:
    mel = MelWindows(media.speech, spec.fps)
    starts = range(0, count, FRAMES_AT_ONCE)
    return np.concatenate([mel.windows(range(first, min(first + FRAMES_AT_ONCE, count))) for first in starts])


def _batches(engine: PcavsEngine, count: int) -> list[slice]:
    return [slice(first, min(first + engine.batch_size, count)) for first in range(0, count, engine.batch_size)]
