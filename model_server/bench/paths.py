"""Both paths on the same inputs, each in a process of its own, their repeats taken in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from model_server import scratch
from model_server.bench.decoded import Decoded, decode
from model_server.bench.fast import FastRun, run_dub, stage_seconds
from model_server.bench.figures import FRAME_RATE, Row, Spread, figure
from model_server.bench.reference import GENERATOR, STAGES
from model_server.bench.reference_process import ReferenceRun, reference_process, run_reference
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.request import DubRequest

WHOLE = "end to end from decoded media"
DECODE = "decode, find faces"
GENERATOR_ONCE = "generator, one run of the reference's two"
RUNS_PER_FRAME = 2
WARM_UP_FRAMES = 2
IDENTICAL_DB = 100.0


@dataclass
class _Runs:
    """What the repeats took, seconds."""

    reference: list[ReferenceRun] = field(default_factory=list)
    fast: list[FastRun] = field(default_factory=list)
    decoding: list[float] = field(default_factory=list)
    fast_stages: list[Mapping[str, float]] = field(default_factory=list)


def compare(
    request: DubRequest, engine: PcavsEngine, files: Mapping[str, Path], repeats: int, say: Callable[[str], None]
) -> list[Row]:
    """Rows of both paths for one engine.

    Args:
        request: what is dubbed, from frame 0 on.
        files: media by asset id.
        say: told what is being measured.
    """
    group, count, runs = engine.weights.preset, request.end, _Runs()
    process = reference_process(engine.weights, engine.device)
    with scratch.folder() as folder, process as apart:
        say(f"{group}: warming up")
        media = decode(request.spec, files, folder)
        run_reference(apart, media, request.spec, min(WARM_UP_FRAMES, count))
        run_dub(replace(request, end=min(max(WARM_UP_FRAMES, engine.batch_size), count)), engine, files.__getitem__)
        for repeat in range(repeats):
            say(f"{group}: repeat {repeat + 1} of {repeats}, reference path")
            runs.reference.append(run_reference(apart, media, request.spec, count))
            say(f"{group}: repeat {repeat + 1} of {repeats}, fast path")
            _run_fast(runs, engine, media, request, files, Path(folder))
    return [
        *_whole_rows(group, runs, count),
        *_stage_rows(group, runs, count),
        *agreement(group, [*map(decode_png, runs.reference[-1].frames)], [*map(decode_png, runs.fast[-1].frames)]),
    ]


def _run_fast(
    runs: _Runs, engine: PcavsEngine, media: Decoded, request: DubRequest, files: Mapping[str, Path], folder: Path
) -> None:
    start = perf_counter()
    decode(request.spec, files, folder)
    runs.decoding.append(perf_counter() - start)
    runs.fast.append(run_dub(request, engine, files.__getitem__))
    runs.fast_stages.append(stage_seconds(engine, media, request.spec, request.end))


def _whole_rows(group: str, runs: _Runs, count: int) -> list[Row]:
    """End to end, from decoded media and from files, to PNG."""
    drawing, slow = [run.seconds - run.decoding for run in runs.fast], [run.seconds for run in runs.reference]
    rates = (Spread(tuple(count / seconds for seconds in times)) for times in (drawing, slow))
    from_files = [seconds + decoding for seconds, decoding in zip(slow, runs.decoding, strict=True)]
    return [
        Row(group, WHOLE, FRAME_RATE, *rates),
        _row(group, WHOLE, drawing, slow, count),
        _row(group, "end to end from files", [run.seconds for run in runs.fast], from_files, count),
    ]


def _stage_rows(group: str, runs: _Runs, count: int) -> list[Row]:
    rows = [_row(group, DECODE, runs.decoding, runs.decoding, count)]
    for stage in STAGES:
        fast, slow = [run[stage] for run in runs.fast_stages], [run.stages[stage] for run in runs.reference]
        rows.append(_row(group, stage, fast, slow, count))
        if stage == GENERATOR:
            rows.append(_row(group, GENERATOR_ONCE, fast, [seconds / RUNS_PER_FRAME for seconds in slow], count))
    return rows


def _row(group: str, name: str, fast: list[float], reference: list[float], count: int) -> Row:
    """Seconds of `count` frames in each repeat, as milliseconds per frame."""
    spreads = (Spread(tuple(1000 * seconds / count for seconds in times)) for times in (fast, reference))
    return Row(group, name, "ms/frame", *spreads)


def agreement(group: str, one: list[NDArray[np.uint8]], other: list[NDArray[np.uint8]]) -> list[Row]:
    """How far the pictures of two paths lie apart."""
    error = np.abs(np.stack(one).astype(np.int16) - np.stack(other))
    mean_square = float(np.mean(np.square(error, dtype=np.float64)))
    psnr = 10 * np.log10(255**2 / mean_square) if mean_square else IDENTICAL_DB
    return [
        figure(group, "pictures: largest difference", "of 255", float(error.max())),
        figure(group, "pictures: equal within 1 of 255", "%", 100 * float(np.mean(error <= 1))),
        figure(group, f"pictures: PSNR ({IDENTICAL_DB:g} when identical)", "dB", min(float(psnr), IDENTICAL_DB)),
    ]
