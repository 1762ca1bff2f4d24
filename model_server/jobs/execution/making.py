"""Where frames of a job are made: in this process, or wherever else somebody does it the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from model_server.engines.base import WeightsInfo
from model_server.pipeline.analysis import Reporter
from model_server.pipeline.preview import Preview
from model_server.pipeline.render import Frame
from model_server.pipeline.request import DubRequest


@dataclass(frozen=True)
class Work:
    """What somebody needs to know to make frames.

    Attributes:
        weights: those that the request means.
        setup: as of `jobs.marks.job_id`.
        cancelled: polled between steps; when true it stops with CANCELLED.
    """

    request: DubRequest
    weights: WeightsInfo
    setup: str
    cancelled: Callable[[], bool]


class Making(Protocol):
    """Makes frames elsewhere."""

    device: str
    """Kind of device that draws."""

    def frames(self, work: Work, report: Reporter) -> Iterator[Frame]:
        """Every frame of the request once, in any order; PoseDubError when that cannot be."""

    def preview(self, work: Work) -> Preview:
        """The request's one frame, before all jobs; it is kept under its key."""

    @property
    def workers(self) -> int:
        """How many make frames."""

    def problem(self) -> str:
        """Why no dub can be made now, "" if it can."""

    def stop(self) -> None:
        """Nothing more is wanted."""
