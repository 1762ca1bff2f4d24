"""A dub looked at without making it: what it would take, and what one of its frames looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_server.engines.runtime.priority_lock import hurried
from model_server.pipeline.analysis import Context, analyse
from model_server.pipeline.faces.pose import flagged
from model_server.pipeline.media.containers import stop_if
from model_server.pipeline.media.encode import encode_png
from model_server.pipeline.render import Encode, Frame, Mark, Rendering, unmarked
from model_server.pipeline.request import DubRequest
from model_server.pipeline.result_cache import NotStored


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
    """One frame as PNG; `approximate` when pose source and footage were looked at for this frame alone."""

    png: bytes
    approximate: bool


def estimate(request: DubRequest, context: Context) -> Estimate:
    """Which frames of a request would be generated; no network draws."""
    try:
        rendering = Rendering(analyse(request, context, stored=("portrait", "pose", "footage")), context)
    except NotStored as missing:
        return Estimate(((request.first, request.end),), (str(missing),))
    new = []
    for wanted in rendering.wanted(range(request.first, request.end)):
        stop_if(context.cancelled)
        new.append(context.results.result(wanted.key) is None)
    return Estimate(tuple((request.first + begin, request.first + end) for begin, end in flagged(np.array(new))))


def preview(request: DubRequest, context: Context, encode: Encode = encode_png, mark: Mark = unmarked) -> Preview:
    """The request's one frame; kept under its key, so that the dub has it."""
    frames = range(request.first, request.end)
    with hurried():
        try:
            analysis = analyse(request, context, stored=("pose", "footage"))
        except NotStored:
            analysis = analyse(request, context, _around(request, context))
        (frame,) = Rendering(analysis, context, encode, mark).frames(frames)
    return Preview(_kept(frame, context), len(analysis.frames) < request.spec.frame_count)


def _around(request: DubRequest, context: Context) -> range:
    """The request's frames and those that they depend on."""
    spec = request.spec
    return context.traits.around(range(request.first, request.end), spec.fps, spec.frame_count)


def _kept(frame: Frame, context: Context) -> bytes:
    if frame.blob:
        return context.results.read(frame.blob)
    context.results.keep(frame.key, frame.png)
    return frame.png
