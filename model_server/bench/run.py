"""A whole bench run: presets in turn, each in this process and, where asked for, on servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model_server import scratch
from model_server.bench.figures import Row
from model_server.bench.footage import IntoPlan, Size, into_rows
from model_server.bench.inputs import FPS, ActorInputs, DubInputs, Inputs, with_speech_of
from model_server.bench.machine import machine_facts
from model_server.bench.paths import compare
from model_server.bench.report import Report
from model_server.bench.roofline import reached
from model_server.bench.serving import Plan, actor_rows, serve_rows
from model_server.engines import registry
from model_server.engines.base import WeightsInfo
from model_server.engines.device import resolve_device
from model_server.engines.pcavs.engine import as_pcavs
from model_server.errors import PoseDubError
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.pipeline.request import Precision

LONGEST_SECONDS = 3600


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        weights: one group of the report for each.
        seconds: of the dub, > 0.
        repeats: of everything but cold starts and long clips, > 0.
        batches: batch sizes for the generator's share of the ceiling; the device's usual ones when empty.
        serve: whether servers are measured, too.
        lengths: of long clips on servers, seconds.
        jobs: at once on a server.
        into: sizes of footage, width and height, into which dubs on servers are measured.
        actors: weights that draw an actor of their own, measured on servers in place of `weights`.
        steps: in which their frames are drawn.
    """

    inputs: Inputs
    weights: Sequence[WeightsInfo]
    device: str = "auto"
    precision: Precision = "auto"
    seconds: float = 2.0
    repeats: int = 3
    batches: Sequence[int] = ()
    serve: bool = False
    lengths: Sequence[float] = (10, 60, 600)
    jobs: int = 4
    into: Sequence[Size] = ()
    actors: Sequence[WeightsInfo] = ()
    steps: Sequence[int] = (1,)

    def validate(self) -> None:
        """Raise PoseDubError, with one sentence, for the first value out of range."""
        for seconds in (self.seconds, *self.lengths):
            if not 0 < seconds <= LONGEST_SECONDS:
                raise PoseDubError(f"A clip of {seconds:g} s cannot be measured; ask for up to {LONGEST_SECONDS} s.")
        for name, count in (("repeats", self.repeats), ("jobs", self.jobs)):
            if count < 1:
                raise PoseDubError(f"{count} {name} measure nothing; ask for at least 1.")


def run(settings: Settings, say: Callable[[str], None]) -> Report:
    """Measure everything asked for.

    Args:
        say: told what is being measured.

    Raises:
        PoseDubError: settings out of range, media unreadable, no such device, or a server that does not start.
    """
    settings.validate()
    rows: list[Row] = []
    facts: dict[str, str] = {}
    for info in settings.actors:
        facts |= _measure_actor(settings, info, rows, say)
    for info in () if settings.actors else settings.weights:
        facts |= _measure(settings, info, rows, say)
    return Report(facts, tuple(rows))


def _measure(settings: Settings, info: WeightsInfo, rows: list[Row], say: Callable[[str], None]) -> dict[str, str]:
    engine = as_pcavs(EnginePool([info], settings.device, settings.precision).engine())
    with scratch.folder() as folder:
        inputs = with_speech_of(settings.inputs, settings.seconds, folder)
        request = inputs.request(settings.seconds)
        rows += compare(request, engine, inputs.files(), settings.repeats, say)
        rows += reached(engine, settings.repeats, say, settings.batches)
        if settings.serve:
            rows += serve_rows(_plan(settings, info, settings.inputs), say)
        if settings.into:
            rows += into_rows(_into(settings, info), say)
    said = f"{info.kind} weights {info.name}, {engine.precision}, batches of {engine.batch_size}"
    clip = f"{request.end} frames at {request.spec.fps} fps, {settings.repeats} repeats"
    return {**machine_facts(engine.device), "clip": clip, info.preset: said}


def _measure_actor(
    settings: Settings, info: WeightsInfo, rows: list[Row], say: Callable[[str], None]
) -> dict[str, str]:  # fmt: skip
    for steps in settings.steps:
        inputs = ActorInputs(settings.inputs.speech, registry.sizes(info).low, steps)
        rows += actor_rows(_plan(settings, info, inputs), say)
    clip = f"{settings.seconds:g} s at {FPS} fps, {settings.repeats} repeats"
    return {**machine_facts(resolve_device(settings.device)), "clip": clip, info.name: f"{info.kind} weights"}


def _plan(settings: Settings, info: WeightsInfo, inputs: DubInputs) -> Plan:
    return Plan(
        inputs,
        info,
        settings.device,
        settings.precision,
        settings.seconds,
        settings.lengths,
        settings.jobs,
        settings.repeats,
    )


def _into(settings: Settings, info: WeightsInfo) -> IntoPlan:
    return IntoPlan(settings.inputs, info, settings.device, settings.precision, settings.into, settings.seconds)
