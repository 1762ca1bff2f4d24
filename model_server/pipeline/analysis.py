"""The first half of a dub: what its sources show and say, found once; any range of frames is rendered from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import Engine, FrameSource, Identity, Traits
from model_server.engines.registry import traits
from model_server.engines.runtime.value_cache import ValueCache
from model_server.pipeline.blinks import closures
from model_server.pipeline.compositing.canvas import FootageCanvas, look_through
from model_server.pipeline.faces.alignment import Matrix
from model_server.pipeline.faces.cached_pose import pose_track
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.portrait import NoFaceError, PortraitViews, portrait_views
from model_server.pipeline.faces.pose import PoseTrack, loops_from
from model_server.pipeline.faces.tracking import FaceTrack, remembered
from model_server.pipeline.media.containers import never
from model_server.pipeline.media.sandboxed import open_footage
from model_server.pipeline.media.video import Footage
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FootageSource,
    Portrait,
    PoseCodes,
    PoseFixed,
    PoseSpeech,
    PoseVideo,
    Viewer,
    own_face,
)
from model_server.pipeline.result_cache import OnlyStored, ResultCache, digest
from model_server.pipeline.sound_warnings import speech_warnings
from model_server.pipeline.speech.audio import SpeechFile
from model_server.pipeline.speech.sandboxed import temporary_speech
from model_server.pipeline.suitability import in_place
from model_server.pipeline.timecode import average_rate
from model_server.pipeline.warnings import (
    FrameWarning,
    Source,
    appearance_warnings,
    footage_warnings,
    portrait_warnings,
    pose_warnings,
)

Kind = Literal["portrait", "pose", "footage"]
# Part of the key under which a portrait's own pose is stored: to be changed with anything that changes it.
_OWN_POSE = "own pose 2"
SPEECH_ENDED = "The speech ends before the dub does; the mouth closes here."


class Reporter(Protocol):
    """Where a running dub says how far it is; both calls may raise to stop it."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` steps of a phase are made."""

    def warn(self, first: int, end: int, kind: str, message: str) -> None:
        """Frames `first <= k < end` deserve a look."""


class Quiet:
    """A reporter that tells nobody."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """Nobody waits."""

    def warn(self, first: int, end: int, kind: str, message: str) -> None:
        """The dub itself will say it."""


@dataclass(frozen=True)
class Context:
    """What a dub is made with.

    Attributes:
        media: path of an asset by its id.
        results: earlier results.
        report: told how far the dub is, and what deserves a look in the request's frames.
        cancelled: polled between steps; when true the dub stops with CANCELLED.
        memory: what other dubs of the same sources made already.
        share: of a pose source, as of `faces.parts.Parts`; None for all of it.
    """

    engine: Engine
    media: Callable[[str], Path]
    results: ResultCache
    report: Reporter = field(default_factory=Quiet)
    cancelled: Callable[[], bool] = never
    memory: ValueCache = field(default_factory=ValueCache)
    share: frozenset[int] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Names all that changes pictures besides the request."""
        return self.engine.fingerprint()

    def opened(self, asset: str, viewer: Viewer) -> Footage:
        """Footage, opened once."""
        if (asset, viewer) not in self._opened:
            self._opened[asset, viewer] = open_footage(self.media(asset), viewer)
        return self._opened[asset, viewer]

    @cached_property
    def _opened(self) -> dict[tuple[str, Viewer], Footage]:
        return {}

    @property
    def traits(self) -> Traits:
        """What the engine wants."""
        return traits(self.engine.weights)

    def identity(self, views: PortraitViews | None, size: int) -> Identity:
        """Whom the frames show."""
        shown = views.content if views else size
        if self.engine.compiling:
            self.report.progress("compiling", 0, 1)
        return self.memory.get(("identity", self.fingerprint, shown), lambda: self.engine.identity_of(views, size))

    def identity_in(self, key: str, references: Callable[[], Sequence[FrameSource]]) -> Any:
        """Whom to draw into frames; `key` is that of the `references`, which are read where they are needed."""
        if self.engine.compiling:
            self.report.progress("compiling", 0, 1)
        return self.memory.get(("in place", self.fingerprint, key), lambda: self.engine.identity_in(references()))


@dataclass(frozen=True)
class Analysis:
    """All that was found in a dub's sources: plain values, which another process of this computer can be given.

    Attributes:
        frames: those that pose and footage were looked at for.
        speech: from frame 0 on.
        portrait: None where the weights know whom they draw, or the footage shows it.
        poses: pose codes of `frames`, (n, p); None where the head moves as the engine makes of the speech.
        face: the footage's face in the movie frames that `frames` show; None without footage.
        lids: how far the lids are closed in `frames`, 0 to 1, (n,); None for weights that do not heed it.
        in_place: whether the lower face is drawn into the footage's own frames.
    """

    spec: DubSpec
    frames: range
    speech: SpeechFile
    portrait: PortraitViews | None
    poses: NDArray[np.float32] | None
    face: FaceTrack | None
    in_place: bool = False
    lids: NDArray[np.float32] | None = None


def analyse(
    request: DubRequest,
    context: Context,
    looked: range | None = None,
    stored: Collection[Kind] = (),
) -> Analysis:
    """Look through the sources of a dub.

    Args:
        looked: frames for which pose source and footage are looked at, all by default; how the head is cropped depends
            on all of them.
        stored: what must have been looked through before.

    Raises:
        NotStored: it was not.
        PoseDubError: a source cannot be used, or the dub was stopped.
    """
    return _Analyst(request, context, looked or range(request.spec.frame_count), stored).analysis()


def look_at(kind: Kind, request: DubRequest, context: Context) -> None:
    """Look through one source of a dub alone, so that its results are there for `analyse`; raises the same errors.

    Raises:
        PartsMissing: of what is read picture by picture, others read the rest.
    """
    _Analyst(request, context, range(request.spec.frame_count), ()).look_at(kind)


class _Analyst:
    """One request's sources being looked through; arguments as of `analyse`."""

    def __init__(self, request: DubRequest, context: Context, looked: range, stored: Collection[Kind]) -> None:
        self._request = request
        self._spec: DubSpec = request.spec
        self._context = context
        self._report = context.report
        self._looked = looked
        self._stored = stored
        self._tracks: dict[PoseVideo, PoseTrack] = {}

    def analysis(self) -> Analysis:
        speech, canvas = self._speech(), self._canvas
        if canvas and in_place(self._spec, self._context.engine.weights):
            seen = bool(canvas.track.shown.any())  # else nothing is drawn, and nothing else has to be known
            if not seen and len(self._looked) == self._spec.frame_count:
                raise self._nobody()
            codes = self._own_codes() if seen else self._neutral()
            return Analysis(self._spec, self._looked, speech, None, codes, canvas.track, seen)
        poses, face = self._poses(), canvas.track if canvas else None
        return Analysis(self._spec, self._looked, speech, self._portrait, poses, face, lids=self._lids())

    def look_at(self, kind: Kind) -> None:
        if kind == "footage":
            _ = self._canvas
        elif isinstance(self._spec.pose, PoseVideo):
            self._video_track(self._spec.pose)

    def _lids(self) -> NDArray[np.float32] | None:
        if "blink" not in self._context.traits.parameters:
            return None
        pose = self._spec.pose
        return closures(self._spec, self._looked, self._video_track(pose).lids if isinstance(pose, PoseVideo) else None)

    def _nobody(self) -> NoFaceError:
        source = self._spec.output.footage
        assert source is not None
        name = self._context.media(source.asset).name
        return NoFaceError(f"No face was found in {name}; choose another one that shows the person who is to speak.")

    def _own_codes(self) -> NDArray[np.float32]:
        """Codes (n, p) of the footage's own head, where its whole face is drawn for the lower one."""
        source = self._spec.output.footage
        if source is None or self._context.traits.in_place != "view":
            return self._neutral()
        return self._video_codes(PoseVideo(source.asset, source.face, source.start, source.speed))

    def _neutral(self) -> NDArray[np.float32]:
        """Codes (n, p) of a frontal head."""
        row = [control.neutral for control in self._context.traits.pose_controls]
        return np.repeat(np.array([row], np.float32), len(self._looked), axis=0)

    def _inputs(self, what: Kind) -> ResultCache:
        """Where it is looked up how a source was read before."""
        results = self._context.results
        return OnlyStored(results, what) if what in self._stored else results

    def _speech(self) -> SpeechFile:
        self._report.progress("speech", 0, 1)
        spec = self._spec
        speech = self._context.memory.get(("speech", spec.speech), self._decoded)
        heard = -(-(speech.duration - spec.speech.start) * spec.fps // 1)
        self._tell(speech_warnings(speech, spec.fps, self._request.first, self._request.end))
        if heard < self._request.end:
            self._report.warn(max(0, int(heard)), spec.frame_count, "speech_ended", SPEECH_ENDED)
        return speech

    def _decoded(self) -> SpeechFile:
        speech = self._spec.speech
        media = self._context.media(speech.asset)
        return temporary_speech(media, speech.start, self._context.cancelled, speech.track)

    @cached_property
    def _portrait(self) -> PortraitViews | None:
        portrait = self._spec.portrait
        if portrait is None:
            return None
        self._report.progress("portrait", 0, 1)
        try:
            views = self._views(portrait, self._portrait_crop(portrait))
        except NoFaceError:  # footage often begins with a title or fades in
            later = self._first_seen(portrait)
            if later is None:
                raise
            views = later
        faces = 1 if self._same_face else views.faces  # of the footage's faces it is said there
        self._tell(portrait_warnings(faces, views.transparent, self._spec.frame_count))
        return views

    def _views(self, portrait: Portrait, crop: Matrix | None) -> PortraitViews:
        path, size, viewer = self._context.media(portrait.asset), self._spec.size, self._spec.viewer
        key = ("portrait", portrait, size, viewer, None if crop is None else crop.tobytes())
        return self._context.memory.get(key, lambda: portrait_views(path, portrait, size, FaceFinder, crop, viewer))

    def _first_seen(self, portrait: Portrait) -> PortraitViews | None:
        """The portrait from the first moment that shows it, None unless it is the footage's own face."""
        canvas = self._canvas
        seen = canvas.first_seen() if canvas and self._same_face else None
        return self._views(replace(portrait, time=seen[0]), seen[1]) if seen else None

    @property
    def _same_face(self) -> bool:
        """Whether the portrait shows the footage's own face."""
        return self._spec.portrait is not None and own_face(self._spec)

    def _portrait_crop(self, portrait: Portrait) -> Matrix | None:
        """How a portrait that is the footage's own face is cropped there."""
        canvas = self._canvas
        return canvas.crop_at(portrait.time) if canvas and self._same_face else None

    def _poses(self) -> NDArray[np.float32] | None:
        """Codes of the frames looked at, (n, p)."""
        pose, looked = self._spec.pose, self._looked
        if isinstance(pose, PoseSpeech):
            return None
        if isinstance(pose, PoseVideo):
            return self._video_codes(pose)
        if isinstance(pose, PoseCodes):
            return np.asarray(pose.rows[looked.start : looked.stop], np.float32)
        own = isinstance(pose, PoseFixed)
        return np.repeat(self._own_pose()[None], len(looked), axis=0) if own else self._neutral()

    def _own_pose(self) -> NDArray[np.float32]:
        """Pose code of the portrait, (p,), from the store when it was read before."""
        context, views = self._context, self._portrait
        key = digest(_OWN_POSE, context.fingerprint, *(views.content if views else ()))
        blob = self._inputs("portrait").result(key)
        if blob:
            return np.frombuffer(context.results.read(blob), np.float32)
        pose = context.identity(views, self._spec.size).pose
        context.results.keep(key, pose.tobytes())
        return pose

    def _video_track(self, pose: PoseVideo) -> PoseTrack:
        if pose not in self._tracks:
            self._tracks[pose] = self._read_track(pose)
        return self._tracks[pose]

    def _read_track(self, pose: PoseVideo) -> PoseTrack:
        return pose_track(
            self._context.media(pose.asset),
            pose.asset,
            pose.face,
            shown_times(self._spec, pose, self._looked),
            self._context.engine,
            self._inputs("pose"),
            FaceFinder,
            lambda done, total: self._report.progress("pose", done, total),
            self._context.cancelled,
            self._spec.viewer,
            self._spec.pose_reading,
            self._context.share,
        )

    def _video_codes(self, pose: PoseVideo) -> NDArray[np.float32]:
        track = self._video_track(pose)
        into = self._spec.output.footage
        if into is None or (into.asset, into.face) != (pose.asset, pose.face):  # else the footage says it all
            self._tell(pose_warnings(track))
        return track.codes

    def _tell(self, notices: Iterable[FrameWarning]) -> None:
        for notice in notices:
            if notice.first < self._request.end and notice.end > self._request.first:
                self._report.warn(notice.first, notice.end, notice.kind, notice.message)

    @cached_property
    def _canvas(self) -> FootageCanvas | None:
        spec, source = self._spec, self._spec.output.footage
        if source is None:
            return None
        times = shown_times(spec, source, self._looked)
        footage = self._context.opened(source.asset, spec.viewer)
        track = look_through(
            footage,
            times,
            source.face,
            remembered(self._inputs("footage"), source.asset, spec.viewer),
            FaceFinder,
            lambda done, total: self._report.progress("footage", done, total),
            self._context.cancelled,
        )
        canvas = FootageCanvas(spec.output.of(self._looked), footage, times, spec.size, track, self._context.cancelled)
        shown = Source("the footage", canvas.frames, average_rate(footage.times, footage.duration))
        kept, loops = spec.output.keep_where_absent, loops_from(times, footage)
        self._tell(appearance_warnings(footage.appearance, spec.output.mode, spec.frame_count))
        self._tell(footage_warnings(shown, track.faces, canvas.absences, canvas.shots, loops, kept))
        return canvas


def shown_times(spec: DubSpec, source: PoseVideo | FootageSource, frames: range) -> list[Fraction]:
    """When a source shows what frames of a dub show, in its seconds."""
    return [source.start + source.speed * k / spec.fps for k in frames]
