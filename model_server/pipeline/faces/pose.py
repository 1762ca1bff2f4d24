"""Pose codes of a movie or picture at given times (Zhou et al., CVPR 2021, section 3.2), in constant memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_server.errors import PoseDubError
from model_server.pipeline.faces.alignment import network_view, warp
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.head_angles import angles_of, turned
from model_server.pipeline.faces.lids import closure, open_ratio
from model_server.pipeline.faces.parts import Parts, Rows
from model_server.pipeline.faces.portrait import aligned_crop
from model_server.pipeline.faces.pose_reading import Picture, PoseReader, angles_over_time, measured_heads
from model_server.pipeline.faces.tracking import DECODED_AHEAD, FaceTrack, TrackFaces, track_face
from model_server.pipeline.media.containers import never
from model_server.pipeline.media.sandboxed import open_footage
from model_server.pipeline.media.video import Footage
from model_server.pipeline.prefetch import prefetch
from model_server.pipeline.request import FaceSelection, Viewer
from model_server.pipeline.timecode import average_rate


@dataclass(frozen=True)
class PoseTrack:
    """Pose codes at the asked times.

    Attributes:
        codes: (n, 12).
        without_face: half-open ranges of positions whose picture shows no face; they hold a neighbour's code.
        loops_from: first position whose time lies outside the movie, None when there is none.
        cuts: positions that show another shot than the one before.
        frames: number of the frame on screen at each position, (n,).
        fps: average frames per second of the movie, for timecodes.
        faces: how many were seen when the largest was taken; 1 where a face was chosen.
        lids: how far the lids are closed, 0 to 1, (n,).
    """

    codes: NDArray[np.float32]
    without_face: tuple[tuple[int, int], ...]
    loops_from: int | None
    cuts: tuple[int, ...]
    frames: NDArray[np.int64]
    fps: Fraction
    faces: int = 1
    lids: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass
class _Steps:
    """Counts steps over all passes through the frames."""

    report: Callable[[int, int], None]
    total: int
    done: int = 0

    def step(self) -> None:
        self.done += 1
        self.report(self.done, max(self.done, self.total))

    def more(self, count: int) -> None:
        """As many steps are to come, too."""
        self.total = self.done + count

    def counted(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Each picture is a step."""
        for picture in pictures:
            self.step()
            yield picture


def source_frames(times: Sequence[Fraction], video_times: Sequence[Fraction], duration: Fraction) -> list[int]:
    """Index of the frame on screen at each time, going back and forth outside the movie (0 .. n-1, n-1 .. 0, 0 ..).

    Args:
        times: seconds, also negative or behind the end.
        video_times: ascending presentation times, the first 0.
        duration: seconds of the movie, behind the last presentation time; a still picture has 0.
    """
    if duration <= 0:
        return [0] * len(times)
    return [_frame_on_screen(time % (2 * duration), video_times, duration) for time in times]


def _frame_on_screen(time: Fraction, video_times: Sequence[Fraction], duration: Fraction) -> int:
    if time < duration:
        return bisect_right(video_times, time) - 1
    return bisect_left(video_times, 2 * duration - time) - 1


def read_pose(
    path: Path,
    face: FaceSelection,
    times: Sequence[Fraction],
    reader: PoseReader,
    finder_factory: Callable[[], FaceFinder],
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = never,
    track_faces: TrackFaces = track_face,
    viewer: Viewer = "player",
) -> PoseTrack:
    """Read the pose codes of a movie or picture at `times`.

    Each source frame is measured and encoded at most once, however often its time is asked for.

    Args:
        path: movie or picture.
        face: which face; it is followed through the other frames.
        times: presentation times in seconds, in any order, at least one.
        reader: what makes codes of heads.
        finder_factory: makes the face finder; not called for aligned crops that are encoded.
        progress: told (done, total) steps.
        cancelled: polled between frames.
        track_faces: follows the face, `track_face` or one that remembers.
        viewer: whose way of showing the file counts.

    Raises:
        PoseDubError: unreadable, no face in any frame, or cancelled.
    """
    path = Path(path)
    footage = open_footage(path, viewer)
    frames = source_frames(times, footage.times, footage.duration)
    indices = sorted(set(frames))
    heads: _AlignedHeads | _TrackedHeads
    if face.crop == "aligned":
        steps = _Steps(progress, len(indices))
        heads = _AlignedHeads(footage, indices, path, finder_factory, steps, cancelled, reader.parts)
        shown, shots, faces = np.ones(len(indices), bool), np.zeros(len(indices), int), 1
        eyes = np.full(len(indices), np.nan)
    else:
        steps = _Steps(progress, len(indices))
        track = track_faces(footage, indices, face, finder_factory, steps.step, cancelled)
        steps.done = len(indices)
        shown, shots, faces, eyes = track.shown, track.shots, track.faces, track.eyes
        _require_face(shown, path)
        heads = _TrackedHeads(footage, track, steps, cancelled)
    positions = np.searchsorted(indices, frames)
    return PoseTrack(
        codes=_spread(reader.codes(heads), positions, shown),
        without_face=flagged(~shown[positions]),
        loops_from=loops_from(times, footage),
        cuts=changes(shots[positions]),
        frames=np.array(frames, np.int64),
        fps=average_rate(footage.times, footage.duration),
        faces=faces,
        lids=closure(eyes, open_ratio(eyes))[positions],
    )


def _require_face(shown: NDArray[np.bool_], path: Path) -> None:
    if not shown.any():
        raise PoseDubError(f"No face was found in {path.name}; choose another one that shows a face.")


@dataclass(frozen=True)
class _AlignedHeads:
    """Implements `Heads` for pictures that are crops already."""

    footage: Footage
    indices: Sequence[int]
    path: Path
    finder: Callable[[], FaceFinder]
    steps: _Steps
    cancelled: Callable[[], bool]
    parts: Parts

    @property
    def shots(self) -> NDArray[np.int_]:
        return np.zeros(len(self.indices), int)

    def angles(self) -> NDArray[np.float32] | None:
        finder, rows = self.finder(), np.arange(len(self.indices))
        return angles_over_time(self.parts.of("heads", rows, lambda some: measured_heads(self.views(some), finder)))

    def views(self, rows: Rows) -> Iterator[Picture]:
        self.steps.more(len(rows))
        pictures = self.footage.iter_frames([self.indices[row] for row in rows], self.cancelled)
        crops = (network_view(aligned_crop(picture, self.path)) for _, picture in pictures)
        return self.steps.counted(prefetch(crops, DECODED_AHEAD))


@dataclass(frozen=True)
class _TrackedHeads:
    """Implements `Heads` for the frames of a track that show the face."""

    footage: Footage
    track: FaceTrack
    steps: _Steps
    cancelled: Callable[[], bool]

    @property
    def shots(self) -> NDArray[np.int_]:
        return self.track.shots[self.track.shown]

    def angles(self) -> NDArray[np.float32]:
        shown = self.track.shown
        return angles_of(turned(self.track.steady_axes[shown], self.track.transforms[shown]))

    def views(self, rows: Rows) -> Iterator[Picture]:
        self.steps.more(len(rows))
        wanted, transforms = (values[self.track.shown][rows] for values in (self.track.indices, self.track.transforms))
        pictures = self.footage.iter_partly(wanted.tolist(), self.cancelled)
        crops = (network_view(warp(picture, at)) for (_, picture), at in zip(pictures, transforms, strict=True))
        return self.steps.counted(prefetch(crops, DECODED_AHEAD))


def _spread(codes: NDArray[np.float32], positions: NDArray[np.intp], shown: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Spread the codes of the frames that show a face over the asked positions.

    Args:
        codes: one row per frame that shows a face.
        positions: for each asked time the number of its frame.
        shown: for each frame whether it shows a face.
    """
    # A frame without a face holds the code of the last one before it that has one, else of the first one.
    row_of_frame = np.maximum(np.cumsum(shown) - 1, 0)
    return codes[row_of_frame[positions]]


def flagged(flags: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Half-open ranges in which the flags are set."""
    runs = groupby(range(len(flags)), key=lambda position: bool(flags[position]))
    members = [list(run) for is_set, run in runs if is_set]
    return tuple((run[0], run[-1] + 1) for run in members)


def changes(values: NDArray[np.int_]) -> tuple[int, ...]:
    """Positions whose value differs from the one before."""
    return tuple((np.flatnonzero(np.diff(values)) + 1).tolist())


def loops_from(times: Sequence[Fraction], footage: Footage) -> int | None:
    """First position whose time lies behind the footage, None when there is none, as in a still picture."""
    if footage.duration == 0:
        return None
    return next((k for k, time in enumerate(times) if time >= footage.duration), None)
