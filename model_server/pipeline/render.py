"""The second half of a dub: keyed frames of any range from its analysis, in constant memory.

Every frame has a key made of all it depends on (weights, portrait, speech, pose, settings, noise). A frame whose key is
known is not made again, so resume, re-dub, repair and preview are this one call; and a range of frames is the same
whatever range is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, takewhile
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import Condition, Identity, Performance
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.analysis import Analysis, Context, shown_times
from model_server.pipeline.compositing import presence_mark
from model_server.pipeline.compositing.canvas import Canvas, CropCanvas, FootageCanvas
from model_server.pipeline.compositing.in_place import InPlaceCanvas
from model_server.pipeline.media.encode import encode_png
from model_server.pipeline.prefetch import prefetch
from model_server.pipeline.request import parameters_of
from model_server.pipeline.result_cache import digest
from model_server.pipeline.warnings import FrameWarning, Source, covered_warnings

# Frames whose conditions are asked for at once.
FRAMES_AT_ONCE = 64
ENCODERS = max(2, (os.cpu_count() or 2) // 2)
# Frames that may wait to be taken: small ones many, those of any size few, to bound memory.
CROPS_AHEAD = 64
PICTURES_AHEAD = 2
IN_PLACE_AT_ONCE = 4

Encode = Callable[[NDArray[np.uint8]], bytes]
Mark = Callable[[bytes], bytes]


def unmarked(png: bytes) -> bytes:
    """For files that nobody keeps."""
    return png


@dataclass(frozen=True)
class Frame:
    """A frame by index: its key, and its blob if made before, else its PNG."""

    index: int
    key: str
    blob: str | None
    png: bytes = b""


@dataclass(frozen=True)
class Wanted:
    """A frame about to be made."""

    index: int
    key: str
    condition: Condition


class Rendering:
    """Makes frames of one dub.

    Args:
        analysis: of the dub; it covers the frames that are asked for, and those that they depend on.
        encode: lossless PNG of a picture, RGB or RGBA.
        mark: puts into the PNG of a frame in which networks drew that they did; pixels and keys stay the same.
    """

    def __init__(
        self, analysis: Analysis, context: Context, encode: Encode = encode_png, mark: Mark = unmarked
    ) -> None:
        self._analysis = analysis
        self._spec = analysis.spec
        self._context = context
        self._encode, self._mark = encode, mark
        self._canvas: Canvas = _footage_canvas(analysis, context) or CropCanvas(analysis.spec.output.presence_mark)
        self._conditioning = context.engine.conditioning(
            Performance(
                analysis.speech,
                self._spec.fps,
                analysis.frames.start,
                analysis.poses,
                parameters_of(self._spec),
                analysis.lids,
                analysis.in_place,
            )
        )

    def wanted(self, frames: range) -> Iterator[Wanted]:
        """All frames of a range, with their keys, in order."""
        for start in range(frames.start, frames.stop, FRAMES_AT_ONCE):
            indices = range(start, min(start + FRAMES_AT_ONCE, frames.stop))
            for index, condition in zip(indices, self._conditioning.of(indices), strict=True):
                drawn = digest(self._base_key, *self._references_key(index), condition.key)
                yield Wanted(index, self._canvas.key(self._row(index), drawn), condition)

    def frames(self, frames: range, end: Callable[[], int] | None = None) -> Iterator[Frame]:
        """Every frame of a range once: known ones as they are met, others as they are made.

        Networks, encoders and the caller work at the same time.

        Args:
            end: asked before each frame is begun, which is left out from there on.
        """
        waiting = CROPS_AHEAD if self._spec.output.footage is None else PICTURES_AHEAD
        with ThreadPoolExecutor(ENCODERS) as pool:
            for frame, png in prefetch(self._made(frames, end or (lambda: frames.stop), pool), waiting):
                yield replace(frame, png=png.result()) if png else frame
        for one in self.covered(frames):
            self._context.report.warn(one.first, one.end, one.kind, one.message)

    def _made(
        self, frames: range, end: Callable[[], int], pool: ThreadPoolExecutor
    ) -> Generator[tuple[Frame, Future[bytes] | None]]:
        """Frames known, and frames drawn with their PNGs to come."""
        batch: list[Wanted] = []
        size = self._first_batch
        for frame in takewhile(lambda frame: frame.index < end(), self.wanted(frames)):
            blob = self._context.results.result(frame.key)
            if blob:
                self._remember_covered(frame)
                yield Frame(frame.index, frame.key, blob), None
                continue
            batch.append(frame)
            if len(batch) == size:
                yield from self._encoding(batch, pool)
                batch, size = [], self._size(end() - frame.index - 1)
        yield from self._encoding(batch, pool)

    def _size(self, left: int) -> int:
        """Frames of a batch when so many are left: at a range's end fewer, so that others can take some of them."""
        first = self._first_batch
        return max(first, min(self._batch_size, left // 2 // first * first))

    @property
    def _first_batch(self) -> int:
        return min(self._context.engine.first_batch, self._batch_size)

    @property
    def _batch_size(self) -> int:
        """Frames drawn at once; of those that are drawn into, few, since their pictures are held meanwhile."""
        most = self._context.engine.batch_size
        return min(most, IN_PLACE_AT_ONCE) if self._analysis.in_place else most

    def _encoding(self, batch: list[Wanted], pool: ThreadPoolExecutor) -> Iterator[tuple[Frame, Future[bytes]]]:
        """Draw a batch and have it encoded."""
        for wanted, view in self._drawn(batch):
            picture = self._canvas.picture(self._row(wanted.index), view)
            drawn = view is not None and not self._kept_covered(wanted)
            yield Frame(wanted.index, wanted.key, None), pool.submit(self._file, picture, drawn)

    def _file(self, picture: NDArray[np.uint8], drawn: bool) -> bytes:
        png = self._encode(picture)
        return self._mark(png) if drawn else png

    def covered(self, frames: range) -> Iterator[FrameWarning]:
        """Which frames of a range, made or met before, were left as they are since something covers the face."""
        canvas = self._in_place
        if canvas:
            shown = Source("the footage", canvas.frames, canvas.rate)
            left = {row for row in canvas.covered if row + self._analysis.frames.start in frames}
            yield from covered_warnings(shown, left, self._analysis.frames.start)

    def _kept_covered(self, wanted: Wanted) -> bool:
        """Whether a frame was left as it is, which is kept beside it."""
        left = self._in_place is not None and self._row(wanted.index) in self._in_place.covered
        if left:
            self._context.results.keep(_covered_key(wanted), b"covered")
        return left

    def _remember_covered(self, wanted: Wanted) -> None:
        if self._in_place and self._context.results.result(_covered_key(wanted)):
            self._in_place.covered.add(self._row(wanted.index))

    @property
    def _in_place(self) -> InPlaceCanvas | None:
        """The canvas whose frames are drawn into; None where a portrait is warped, or an actor drawn."""
        return self._canvas if isinstance(self._canvas, InPlaceCanvas) else None

    def _row(self, index: int) -> int:
        """Row of a frame among those analysed."""
        return index - self._analysis.frames.start

    @cached_property
    def _base_key(self) -> str:
        """Key of all that the frames of this dub have in common."""
        views = self._analysis.portrait
        alone = self._analysis.in_place and self._context.traits.in_place == "lower_face"  # drawn at the footage's size
        settings = "" if alone else f"{self._spec.size} {self._spec.seed}"
        shown = views.content if views else ()
        marks = [
            *(["colourless"] if self._colourless else []),
            *([presence_mark.VERSION] if self._spec.output.presence_mark else []),
        ]
        return digest(self._context.fingerprint, settings, *shown, *marks)

    @cached_property
    def _colourless(self) -> bool:
        """Whether pictures show no colours, as their portrait; networks colour lips and eyes. Footage has its own."""
        views = self._analysis.portrait
        return views is not None and views.colourless and self._spec.output.footage is None

    @cached_property
    def _identity(self) -> Identity:
        return self._context.identity(self._analysis.portrait, self._spec.size)

    def _identity_at(self, index: int) -> Any:
        """Whom a frame shows: in place, as the person looks in its shot."""
        canvas, shot = self._in_place, self._shot(index)
        if canvas is None:
            return self._identity
        return self._context.identity_in(canvas.references_key(shot), lambda: canvas.references(shot))

    def _references_key(self, index: int) -> tuple[str, ...]:
        """Key of how the person looks in a frame's shot; none where a portrait is bent."""
        return (self._in_place.references_key(self._shot(index)),) if self._in_place else ()

    def _shot(self, index: int) -> int:
        """Number of the footage's shot that a frame shows; 0 for all where nothing is drawn into it."""
        return self._in_place.shot(self._row(index)) if self._in_place else 0

    def _drawn(self, batch: Sequence[Wanted]) -> Iterator[tuple[Wanted, NDArray[np.uint8] | None]]:
        """The network's picture of each frame, None where it is not seen."""
        if self._context.cancelled():
            raise PoseDubError("The dub was stopped.", ErrorKind.CANCELLED)
        batch = [replace(one, condition=self._with_source(one)) for one in batch]
        seen = [wanted for wanted in batch if self._canvas.draws(self._row(wanted.index))]
        views = dict(zip([wanted.index for wanted in seen], self._draw(seen), strict=True))
        for wanted in batch:
            yield wanted, views.get(wanted.index)

    def _with_source(self, wanted: Wanted) -> Condition:
        """The frame's condition with what the footage shows in it, if that is drawn into."""
        return replace(wanted.condition, source=self._canvas.source(self._row(wanted.index)))

    def _draw(self, batch: Sequence[Wanted]) -> Iterable[NDArray[np.uint8]]:
        engine, seed = self._context.engine, self._spec.seed
        for _, alike in groupby(batch, key=lambda wanted: self._shot(wanted.index)):
            frames = list(alike)
            conditions = [wanted.condition for wanted in frames]
            views = engine.draw(self._identity_at(frames[0].index), conditions, seed)
            yield from map(_without_colours, views) if self._colourless else views


def _covered_key(wanted: Wanted) -> str:
    """Under which it is kept that a frame was left as it is."""
    return digest("covered", wanted.key)


def _without_colours(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture's luma (BT.601, as of the stills that portraits are) in all channels."""
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


def _footage_canvas(analysis: Analysis, context: Context) -> FootageCanvas | None:
    """What puts the drawn face into the dub's footage; None for dubs without."""
    source = analysis.spec.output.footage
    if source is None or analysis.face is None:
        return None
    footage = context.opened(source.asset, analysis.spec.viewer)
    times = shown_times(analysis.spec, source, analysis.frames)
    output = analysis.spec.output.of(analysis.frames)
    if analysis.in_place:
        return InPlaceCanvas(output, footage, times, analysis.face, context.traits.in_place, context.cancelled)
    return FootageCanvas(output, footage, times, analysis.spec.size, analysis.face, context.cancelled)
