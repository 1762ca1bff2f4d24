"""The dub itself: a request in, keyed frames out, in constant memory.

Every frame has a key made of all it depends on (weights, portrait, speech
window, pose code, settings, noise). A frame whose key is known is not made
again, so resume, re-dub and repair are this one call.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from io import BytesIO
from itertools import starmap
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import Engine, Identity
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.audio import decode_speech
from model_server.pipeline.encode import encode_png
from model_server.pipeline.faces import FaceFinder
from model_server.pipeline.mel import MelWindows
from model_server.pipeline.portrait import PortraitViews, portrait_views
from model_server.pipeline.pose import PoseTrack, read_pose
from model_server.pipeline.request import (
    POSE_SIZE,
    DubRequest,
    DubSpec,
    FaceSelection,
    PoseCodes,
    PoseFixed,
    PoseVideo,
)

WINDOWS_AT_ONCE = 64
ENCODERS = 2
NO_FACE = "No face was found in the pose source here; the last pose is held."
POSE_LOOPS = "The pose source is shorter than the dub; from here on it is traversed back and forth."
SPEECH_ENDED = "The speech ends before the dub does; the mouth closes here."


class Results(Protocol):
    """Where frames and pose codes made before are looked up, by key."""

    def result(self, key: str) -> str | None:
        """Blob of a result, or None."""

    def keep(self, key: str, content: bytes) -> str:
        """Store a result and return its blob."""

    def read(self, sha: str) -> bytes:
        """Content of a blob."""


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
    """A frame about to be made: a 80x20 speech window and a pose code."""

    index: int
    key: str
    window: NDArray[np.float32]
    code: NDArray[np.float32]


def digest(*parts: bytes | str) -> str:
    """SHA-256 over parts, each with its length, so that none can pass for another."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


class Dub:
    """One request at work.

    Args:
        media: path of an asset by its id.
        results: earlier results.
        cancelled: polled between steps; when true the dub stops with CANCELLED.
    """

    def __init__(
        self,
        request: DubRequest,
        engine: Engine,
        media: Callable[[str], Path],
        results: Results,
        report: Reporter,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.request = request
        self.spec: DubSpec = request.spec
        self._engine = engine
        self._media = media
        self._results = results
        self._report = report
        self._cancelled = cancelled

    def frames(self) -> Iterator[Frame]:
        """Every frame of the range once: known ones as they are met, others as they are made."""
        with tempfile.TemporaryDirectory(prefix="posedub-") as folder, ThreadPoolExecutor(ENCODERS) as pool:
            windows = self._speech(Path(folder) / "speech.f32")
            identity = self._identity
            codes = self._pose_codes()
            self._report.progress("frames", 0, self.request.end - self.request.first)
            encoding: deque[tuple[Wanted, Future[bytes]]] = deque()
            batch: list[Wanted] = []
            for wanted in self._wanted(windows, codes):
                blob = self._results.result(wanted.key)
                if blob:
                    yield Frame(wanted.index, wanted.key, blob)
                    continue
                batch.append(wanted)
                if len(batch) == self._engine.batch_size:
                    encoding += self._draw(identity, batch, pool)
                    batch = []
                while len(encoding) > self._engine.batch_size:  # the batch before is encoded while this one is drawn
                    yield _encoded(*encoding.popleft())
            if batch:
                encoding += self._draw(identity, batch, pool)
            yield from starmap(_encoded, encoding)

    def _speech(self, raw: Path) -> MelWindows:
        self._report.progress("speech", 0, 1)
        spec = self.spec
        speech = decode_speech(self._media(spec.speech.asset), raw, spec.speech.start, self._cancelled)
        heard = -(-(speech.duration - spec.speech.start) * spec.fps // 1)
        if heard < self.request.end:
            self._report.warn(max(0, int(heard)), spec.frame_count, "speech_ended", SPEECH_ENDED)
        return MelWindows(speech, spec.fps)

    @cached_property
    def _finder(self) -> FaceFinder:
        return FaceFinder()

    @cached_property
    def _portrait(self) -> PortraitViews:
        self._report.progress("portrait", 0, 1)
        portrait = self.spec.portrait
        return portrait_views(self._media(portrait.asset), portrait, self.spec.size, lambda: self._finder)

    @cached_property
    def _identity(self) -> Identity:
        return self._engine.identity(self._portrait.seen[None], self._portrait.drawn)

    def _pose_codes(self) -> NDArray[np.float32]:
        """Codes of the whole dub, (frame_count, 12)."""
        pose, count = self.spec.pose, self.spec.frame_count
        if isinstance(pose, PoseVideo):
            return self._video_codes(pose)
        if isinstance(pose, PoseCodes):
            return np.asarray(pose.rows, np.float32)
        row = self._identity.pose if isinstance(pose, PoseFixed) else np.zeros(POSE_SIZE, np.float32)
        return np.repeat(row[None], count, axis=0)

    def _video_codes(self, pose: PoseVideo) -> NDArray[np.float32]:
        times = [pose.start + pose.speed * k / self.spec.fps for k in range(self.spec.frame_count)]
        track = pose_track(
            self._media(pose.asset),
            pose.asset,
            pose.face,
            times,
            self._engine,
            self._results,
            lambda: self._finder,
            lambda done, total: self._report.progress("pose", done, total),
            self._cancelled,
        )
        self._warn_about(track)
        return track.codes

    def _warn_about(self, track: PoseTrack) -> None:
        for first, end in track.without_face:
            self._report.warn(first, end, "no_face", NO_FACE)
        if track.loops_from is not None:
            self._report.warn(track.loops_from, self.spec.frame_count, "pose_loops", POSE_LOOPS)

    def _wanted(self, windows: MelWindows, codes: NDArray[np.float32]) -> Iterator[Wanted]:
        """All frames of the range, with their keys, in order."""
        base = self._base_key()
        for start in range(self.request.first, self.request.end, WINDOWS_AT_ONCE):
            indices = range(start, min(start + WINDOWS_AT_ONCE, self.request.end))
            for index, window in zip(indices, windows.windows(indices), strict=True):
                key = digest(base, window.tobytes(), codes[index].tobytes())
                yield Wanted(index, key, window, codes[index])

    def _base_key(self) -> str:
        """Key of all that the frames of this dub have in common."""
        settings = f"{self.spec.size} {self.spec.mouth_strength!r} {self.spec.seed}"
        views = self._portrait
        return digest(self._engine.fingerprint(), views.seen.tobytes(), views.drawn.tobytes(), settings)

    def _draw(
        self, identity: Identity, batch: list[Wanted], pool: ThreadPoolExecutor
    ) -> list[tuple[Wanted, Future[bytes]]]:
        if self._cancelled():
            raise PoseDubError("The dub was stopped.", ErrorKind.CANCELLED)
        pictures = self._engine.frames(
            identity,
            np.stack([wanted.window for wanted in batch]),
            np.stack([wanted.code for wanted in batch]),
            self.spec.mouth_strength,
            self.spec.seed,
        )
        return [(wanted, pool.submit(encode_png, picture)) for wanted, picture in zip(batch, pictures, strict=True)]


def _encoded(wanted: Wanted, png: Future[bytes]) -> Frame:
    return Frame(wanted.index, wanted.key, None, png.result())


def pose_track(
    path: Path,
    asset: str,
    face: FaceSelection,
    times: list[Fraction],
    engine: Engine,
    results: Results,
    finder: Callable[[], FaceFinder],
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> PoseTrack:
    """Pose codes of a movie or picture at `times`, from the store when they were read before."""
    key = digest("pose", asset, repr(face), engine.weights.id, engine.precision, " ".join(map(str, times)))
    blob = results.result(key)
    if blob:
        return _unpack(results.read(blob))
    track = read_pose(path, face, times, engine.pose_codes, finder, progress=progress, cancelled=cancelled)
    results.keep(key, _pack(track))
    return track


def _pack(track: PoseTrack) -> bytes:
    file = BytesIO()
    loops = -1 if track.loops_from is None else track.loops_from
    np.savez(file, codes=track.codes, without_face=np.array(track.without_face, np.int64).reshape(-1, 2), loops=loops)
    return file.getvalue()


def _unpack(content: bytes) -> PoseTrack:
    with np.load(BytesIO(content), allow_pickle=False) as data:
        ranges = tuple((int(first), int(end)) for first, end in data["without_face"])
        loops = int(data["loops"])
        return PoseTrack(data["codes"], ranges, None if loops < 0 else loops)
