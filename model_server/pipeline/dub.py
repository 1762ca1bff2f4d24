"""The dub itself: a request in, keyed frames out, in constant memory.

Every frame has a key made of all it depends on (weights, portrait, speech
window, pose code, settings, noise). A frame whose key is known is not made
again, so resume, re-dub and repair are this one call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import Engine, Identity
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.ahead import ahead
from model_server.pipeline.alignment import Matrix
from model_server.pipeline.audio import SpeechFile, temporary_speech
from model_server.pipeline.encode import encode_png
from model_server.pipeline.faces import FaceFinder
from model_server.pipeline.inset import Canvas, CropCanvas, FootageCanvas
from model_server.pipeline.mel import MelWindows, is_silent
from model_server.pipeline.memory import Memory
from model_server.pipeline.notices import (
    Notice,
    Source,
    footage_notices,
    look_notices,
    portrait_notices,
    pose_notices,
)
from model_server.pipeline.portrait import NoFaceError, PortraitViews, portrait_views
from model_server.pipeline.pose import loops_from
from model_server.pipeline.request import (
    MOUTH_STRENGTH,
    POSE_SIZE,
    DubRequest,
    DubSpec,
    FootageSource,
    Output,
    Portrait,
    PoseCodes,
    PoseFixed,
    PoseVideo,
)
from model_server.pipeline.results import Results, digest
from model_server.pipeline.sound_notices import speech_notices
from model_server.pipeline.stored_pose import pose_track
from model_server.pipeline.timecode import average_rate
from model_server.pipeline.tracking import remembered
from model_server.pipeline.video import open_footage

WINDOWS_AT_ONCE = 64
ENCODERS = max(2, (os.cpu_count() or 2) // 2)
# Frames that may wait to be taken: small ones many, those of any size few, to bound memory.
CROPS_AHEAD = 64
PICTURES_AHEAD = 2
# Part of the key under which a portrait's own pose is stored: to be changed with anything that changes it.
_OWN_POSE = "own pose 1"
SPEECH_ENDED = "The speech ends before the dub does; the mouth closes here."


class Reporter(Protocol):
    """Where a running dub says how far it is; both calls may raise to stop it."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` steps of a phase are made."""

    def warn(self, first: int, end: int, kind: str, message: str) -> None:
        """Frames `first <= k < end` deserve a look."""


@dataclass(frozen=True)
class Frame:
    """A frame by index: its key, and its blob if made before, else its PNG."""

    index: int
    key: str
    blob: str | None
    png: bytes = b""


@dataclass
class Wanted:
    """A frame about to be made: a 80x20 speech window, its gain and a pose code."""

    index: int
    key: str
    strength: float
    window: NDArray[np.float32]
    code: NDArray[np.float32]


class Dub:
    """One request at work.

    Args:
        media: path of an asset by its id.
        results: earlier results.
        cancelled: polled between steps; when true the dub stops with CANCELLED.
        memory: what other dubs of the same sources made already.
    """

    def __init__(
        self,
        request: DubRequest,
        engine: Engine,
        media: Callable[[str], Path],
        results: Results,
        report: Reporter,
        cancelled: Callable[[], bool] = lambda: False,
        memory: Memory | None = None,
    ) -> None:
        self.request = request
        self.spec: DubSpec = request.spec
        self._engine = engine
        self._media = media
        self._results = results
        self._report = report
        self._cancelled = cancelled
        self._memory = memory or Memory()
        # Frames for which pose and footage are looked at; the head's crop depends on all of them.
        self._looked = range(self.spec.frame_count)

    def frames(self) -> Iterator[Frame]:
        """Every frame of the range once: known ones as they are met, others as they are made.

        Networks, encoders and the caller work at the same time.
        """
        waiting = CROPS_AHEAD if self.spec.output.footage is None else PICTURES_AHEAD
        with ThreadPoolExecutor(ENCODERS) as pool:
            for frame, png in ahead(self._made(pool), waiting):
                yield replace(frame, png=png.result()) if png else frame

    def _made(self, pool: ThreadPoolExecutor) -> Generator[tuple[Frame, Future[bytes] | None]]:
        """Frames known, and frames drawn with their PNGs to come."""
        batch: list[Wanted] = []
        size = self._engine.first_batch
        for frame in self._wanted():
            blob = self._results.result(frame.key)
            if blob:
                yield Frame(frame.index, frame.key, blob), None
                continue
            batch.append(frame)
            if len(batch) == size:
                yield from self._encoding(batch, pool)
                batch, size = [], self._engine.batch_size
        yield from self._encoding(batch, pool)

    def _encoding(self, batch: list[Wanted], pool: ThreadPoolExecutor) -> Iterator[tuple[Frame, Future[bytes]]]:
        """Draw a batch and have it encoded."""
        for wanted, view in self._drawn(batch):
            picture = self._canvas.picture(self._row(wanted.index), view)
            yield Frame(wanted.index, wanted.key, None), pool.submit(encode_png, picture)

    def _row(self, index: int) -> int:
        """Row of a frame among those looked at."""
        return index - self._looked.start

    def _inputs(self, what: str) -> Results:
        """Where it is looked up how the "pose" source, or the "footage", was read before."""
        return self._results

    def _speech(self) -> MelWindows:
        self._report.progress("speech", 0, 1)
        spec = self.spec
        speech = self._memory.get(("speech", spec.speech), self._decoded)
        heard = -(-(speech.duration - spec.speech.start) * spec.fps // 1)
        self._tell(speech_notices(speech, spec.fps, self.request.first, self.request.end))
        if heard < self.request.end:
            self._report.warn(max(0, int(heard)), spec.frame_count, "speech_ended", SPEECH_ENDED)
        return MelWindows(speech, spec.fps)

    def _decoded(self) -> SpeechFile:
        speech = self.spec.speech
        return temporary_speech(self._media(speech.asset), speech.start, self._cancelled, speech.track)

    @cached_property
    def _portrait(self) -> PortraitViews:
        self._report.progress("portrait", 0, 1)
        try:
            views = self._views(self.spec.portrait, self._portrait_crop())
        except NoFaceError:  # footage often begins with a title or fades in
            later = self._first_seen()
            if later is None:
                raise
            views = later
        if not self._same_face:  # else the footage says it
            self._tell(portrait_notices(views.faces, self.spec.frame_count))
        return views

    def _views(self, portrait: Portrait, crop: Matrix | None) -> PortraitViews:
        path, size, viewer = self._media(portrait.asset), self.spec.size, self.spec.viewer
        key = ("portrait", portrait, size, viewer, None if crop is None else crop.tobytes())
        return self._memory.get(key, lambda: portrait_views(path, portrait, size, FaceFinder, crop, viewer))

    def _first_seen(self) -> PortraitViews | None:
        """The portrait from the first moment that shows it, None unless it is the footage's own face."""
        canvas = self._canvas
        seen = canvas.first_seen() if isinstance(canvas, FootageCanvas) and self._same_face else None
        return self._views(replace(self.spec.portrait, time=seen[0]), seen[1]) if seen else None

    @property
    def _same_face(self) -> bool:
        """Whether the portrait shows the footage's own face."""
        portrait, into = self.spec.portrait, self.spec.output.footage
        if into is None or portrait.face.crop != "auto":
            return False
        return (portrait.asset, portrait.face.at) == (into.asset, into.face.at)

    def _portrait_crop(self) -> Matrix | None:
        """How a portrait that is the footage's own face is cropped there."""
        canvas = self._canvas
        return (
            canvas.crop_at(self.spec.portrait.time) if isinstance(canvas, FootageCanvas) and self._same_face else None
        )

    @cached_property
    def _identity(self) -> Identity:
        views = self._portrait
        key = ("identity", self._fingerprint, views.seen.tobytes(), views.drawn.tobytes())
        if self._engine.compiling:
            self._report.progress("compiling", 0, 1)
        return self._memory.get(key, lambda: self._engine.identity(views.seen[None], views.drawn))

    @cached_property
    def _fingerprint(self) -> str:
        return self._engine.fingerprint()

    def _own_pose(self) -> NDArray[np.float32]:
        """Pose code of the portrait, (12,), from the store when it was read before."""
        key = digest(_OWN_POSE, self._fingerprint, self._portrait.seen.tobytes())
        blob = self._results.result(key)
        if blob:
            return np.frombuffer(self._results.read(blob), np.float32)
        self._results.keep(key, self._identity.pose.tobytes())
        return self._identity.pose

    def _pose_codes(self) -> NDArray[np.float32]:
        """Codes of the frames looked at, (n, 12)."""
        pose, looked = self.spec.pose, self._looked
        if isinstance(pose, PoseVideo):
            return self._video_codes(pose)
        if isinstance(pose, PoseCodes):
            return np.asarray(pose.rows[looked.start : looked.stop], np.float32)
        row = self._own_pose() if isinstance(pose, PoseFixed) else np.zeros(POSE_SIZE, np.float32)
        return np.repeat(row[None], len(looked), axis=0)

    def _video_codes(self, pose: PoseVideo) -> NDArray[np.float32]:
        track = pose_track(
            self._media(pose.asset),
            pose.asset,
            pose.face,
            self._times(pose),
            self._engine,
            self._inputs("pose"),
            FaceFinder,
            lambda done, total: self._report.progress("pose", done, total),
            self._cancelled,
            self.spec.viewer,
        )
        into = self.spec.output.footage
        if into is None or (into.asset, into.face) != (pose.asset, pose.face):  # else the footage says it all
            self._tell(pose_notices(track))
        return track.codes

    def _times(self, source: PoseVideo | FootageSource) -> list[Fraction]:
        return [source.start + source.speed * k / self.spec.fps for k in self._looked]

    def _tell(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            if notice.first < self.request.end and notice.end > self.request.first:
                self._report.warn(notice.first, notice.end, notice.kind, notice.message)

    @cached_property
    def _canvas(self) -> Canvas:
        output = self._output()
        if output.footage is None:
            return CropCanvas()
        viewer, times = self.spec.viewer, self._times(output.footage)
        footage = open_footage(self._media(output.footage.asset), viewer)
        canvas = FootageCanvas(
            output,
            footage,
            times,
            self.spec.size,
            remembered(self._inputs("footage"), output.footage.asset, viewer),
            FaceFinder,
            lambda done, total: self._report.progress("footage", done, total),
            self._cancelled,
        )
        source = Source("the footage", canvas.frames, average_rate(footage.times, footage.duration))
        kept, loops = output.keep_where_absent, loops_from(times, footage)
        self._tell(look_notices(footage.look, output.mode, self.spec.frame_count))
        self._tell(footage_notices(source, canvas.track.faces, canvas.absences, canvas.shots, loops, kept))
        return canvas

    def _output(self) -> Output:
        """What becomes of the frames looked at."""
        output, looked = self.spec.output, self._looked
        amounts = output.mouth_only
        return replace(output, mouth_only=amounts[looked.start : looked.stop] if len(amounts) > 1 else amounts)

    def _wanted(self) -> Iterator[Wanted]:
        """All frames of the range, with their keys, in order."""
        windows, codes, canvas = self._speech(), self._pose_codes(), self._canvas
        bases = {strength: self._base_key(strength) for strength in (self.spec.mouth_strength, self._calm_strength)}
        self._report.progress("frames", 0, self.request.end - self.request.first)
        for start in range(self.request.first, self.request.end, WINDOWS_AT_ONCE):
            indices = range(start, min(start + WINDOWS_AT_ONCE, self.request.end))
            for index, window in zip(indices, windows.windows(indices), strict=True):
                strength = self._calm_strength if is_silent(window) else self.spec.mouth_strength
                row, code = self._row(index), codes[self._row(index)]
                drawn = digest(bases[strength], window.tobytes(), code.tobytes())
                yield Wanted(index, canvas.key(row, drawn), strength, window, code)

    @property
    def _calm_strength(self) -> float:
        """Gain where nobody speaks: more than the published one would only open the mouth for noise."""
        return min(self.spec.mouth_strength, MOUTH_STRENGTH)

    def _base_key(self, strength: float) -> str:
        """Key of all that the frames of this dub with that gain have in common."""
        settings = f"{self.spec.size} {strength!r} {self.spec.seed}"
        views = self._portrait
        return digest(self._fingerprint, views.seen.tobytes(), views.drawn.tobytes(), settings)

    def _drawn(self, batch: list[Wanted]) -> Iterator[tuple[Wanted, NDArray[np.uint8] | None]]:
        """The network's picture of each frame, None where it is not seen."""
        if self._cancelled():
            raise PoseDubError("The dub was stopped.", ErrorKind.CANCELLED)
        seen = [wanted for wanted in batch if self._canvas.draws(self._row(wanted.index))]
        views = dict(zip([wanted.index for wanted in seen], self._draw(seen), strict=True))
        for wanted in batch:
            yield wanted, views.get(wanted.index)

    def _draw(self, batch: list[Wanted]) -> Iterable[NDArray[np.uint8]]:
        if not batch:
            return ()
        windows, codes = (np.stack(part) for part in zip(*((one.window, one.code) for one in batch), strict=True))
        strengths = np.array([one.strength for one in batch], np.float32)
        return self._engine.frames(self._identity, windows, codes, strengths, self.spec.seed)
