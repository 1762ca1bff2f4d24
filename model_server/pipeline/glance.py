"""A dub looked at without making it: what it would take, and what one of its frames looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from model_server.engines.base import Engine, Identity
from model_server.engines.gate import hurried
from model_server.pipeline.dub import Dub, Frame
from model_server.pipeline.media import never, stop_if
from model_server.pipeline.memory import Memory
from model_server.pipeline.pose import flagged
from model_server.pipeline.request import DubRequest
from model_server.pipeline.results import NotStored, OnlyStored, Results

D = TypeVar("D", bound=Dub)


@dataclass(frozen=True)
class Estimate:
    """Which frames of a request would be generated.

    Attributes:
        generated: ranges (first, end), ascending.
        unread: what must be read first; if there is any, all frames count.
    """

    generated: tuple[tuple[int, int], ...]
    unread: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Frames in `generated`."""
        return sum(end - first for first, end in self.generated)


@dataclass(frozen=True)
class Preview:
    """One frame as PNG; `approximate` when pose source or footage were looked at for this frame alone."""

    png: bytes
    approximate: bool


class Quiet:
    """A reporter that tells nobody."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """Nobody waits."""

    def warn(self, first: int, end: int, kind: str, message: str) -> None:
        """The dub itself will say it."""


class _Stored(Dub):
    """A dub whose pose source and footage were read before; raises NotStored where they were not."""

    def _inputs(self, what: str) -> Results:
        return OnlyStored(self._results, what)


class _Keys(_Stored):
    """The frames' keys alone: no network runs."""

    @property
    def _identity(self) -> Identity:  # type: ignore[override]
        raise NotStored("portrait")

    def estimate(self) -> Estimate:
        """Which frames have keys that are new."""
        new = []
        for wanted in self._wanted():
            stop_if(self._cancelled)
            new.append(self._results.result(wanted.key) is None)
        first = self.request.first
        return Estimate(tuple((first + begin, first + end) for begin, end in flagged(np.array(new))))


class _Alone(Dub):
    """A part of a dub for which pose source and footage are looked at no further than it goes."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._looked = range(self.request.first, self.request.end)


class Glances:
    """Answers about dubs.

    Args:
        media: path of an asset by its id.
        memory: what is kept between two answers.
    """

    def __init__(self, media: Callable[[str], Path], results: Results, memory: Memory) -> None:
        self._media = media
        self._results = results
        self._memory = memory

    def estimate(self, request: DubRequest, engine: Engine, cancelled: Callable[[], bool] = never) -> Estimate:
        """Which frames would be generated; no network runs."""
        try:
            return self._of(_Keys, request, engine, cancelled).estimate()
        except NotStored as missing:
            return Estimate(((request.first, request.end),), (str(missing),))

    def preview(self, request: DubRequest, engine: Engine, cancelled: Callable[[], bool] = never) -> Preview:
        """The request's one frame; kept under its key, so that the dub has it."""
        with hurried():
            try:
                (frame,), approximate = self._of(_Stored, request, engine, cancelled).frames(), False
            except NotStored:
                (frame,), approximate = self._of(_Alone, request, engine, cancelled).frames(), True
        return Preview(self._kept(frame), approximate)

    def _kept(self, frame: Frame) -> bytes:
        if frame.blob:
            return self._results.read(frame.blob)
        self._results.keep(frame.key, frame.png)
        return frame.png

    def _of(self, kind: type[D], request: DubRequest, engine: Engine, cancelled: Callable[[], bool]) -> D:
        return kind(request, engine, self._media, self._results, Quiet(), cancelled, self._memory)
