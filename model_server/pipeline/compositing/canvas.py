"""What a dub's frames become of the network's pictures: these themselves, or footage with the face in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import FrameSource
from model_server.pipeline.compositing import presence_mark
from model_server.pipeline.compositing.blending import Patch, Placement, composed, in_kind, overlay, patch
from model_server.pipeline.faces.alignment import after_scaling, moved, view_transform
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.pose import flagged, source_frames
from model_server.pipeline.faces.tracking import Absence, FaceTrack, TrackFaces
from model_server.pipeline.media.containers import never
from model_server.pipeline.media.playback import Playback
from model_server.pipeline.media.video import Footage
from model_server.pipeline.request import FaceSelection, Output
from model_server.pipeline.result_cache import digest

Picture = NDArray[np.uint8]

# A face missed in so few frames is taken to be where it must have been.
_BRIDGED = 2
# Frames over which the drawn face comes and goes beside frames that keep the footage.
_FADE = 4
# A face of this share of its usual lightness is no longer taken for one in a fade.
_LIT = 0.7
# Part of every key: to be changed with anything that changes composed pictures.
_VERSION = "inset 2"


class Canvas(Protocol):
    """Makes the pictures of a dub's frames."""

    def key(self, index: int, drawn: str) -> str:
        """Key of frame `index`, given that of the network's picture."""

    def draws(self, index: int) -> bool:
        """Whether the network's picture is seen in frame `index`."""

    def source(self, index: int) -> FrameSource | None:
        """What the footage shows in frame `index`, for frames that are drawn into; asked for in order, before them."""

    def picture(self, index: int, view: Picture | None) -> Picture:
        """Frame `index`, RGB or RGBA; `view` is the network's picture if it is seen."""


class CropCanvas:
    """Frames that are the network's pictures.

    Args:
        marked: whether they get the invisible pattern.
    """

    def __init__(self, marked: bool = False) -> None:
        self._marked = marked

    def key(self, index: int, drawn: str) -> str:
        """The network picture's own key."""
        return drawn

    def draws(self, index: int) -> bool:
        """Always."""
        return True

    def source(self, index: int) -> None:
        """None: nothing is drawn into."""

    def picture(self, index: int, view: Picture | None) -> Picture:
        """The network's picture."""
        assert view is not None
        return presence_mark.imprinted(view) if self._marked else view


class FootageCanvas:
    """Frames that are footage with the drawn face in it, or an overlay for it.

    Args:
        output: of the dub; names footage.
        footage: the same, opened.
        times: presentation time of each frame of the dub.
        side: width and height of the network's pictures.
        track: the face in the movie frames at these times, from `look_through`.

    Attributes:
        frames: (dub's frames,), the movie frame on screen in each.
        track: the face in the movie frames.
    """

    def __init__(
        self,
        output: Output,
        footage: Footage,
        times: Sequence[Fraction],
        side: int,
        track: FaceTrack,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        assert output.footage is not None
        self._output, self._asset, self._side = output, output.footage.asset, side
        self._footage, self._appearance = footage, footage.appearance
        self._playback = Playback(footage.stored, cancelled)
        self.track = track
        self.frames = np.array(source_frames(times, footage.times, footage.duration), np.int64)
        self._rows = np.searchsorted(track.indices, self.frames)  # of the track, of each frame of the dub

    @property
    def absences(self) -> NDArray[np.int64]:
        """`Absence` of each frame of the dub."""
        return self.track.absences[self._rows]

    @property
    def shots(self) -> NDArray[np.int64]:
        """Number of the shot of each frame of the dub."""
        return self.track.shots[self._rows]

    def crop_at(self, time: Fraction) -> NDArray[np.float64] | None:
        """Transform from picture to crop of the frame on screen at `time`, None where the face is not seen.

        Cropped with its shot, a portrait from the footage has the same scale as the frames it is put into.
        """
        frame = source_frames([time], self._footage.times, self._footage.duration)[0]
        row = np.searchsorted(self.track.indices, frame)
        known = row < len(self.track.indices) and self.track.indices[row] == frame and self.track.shown[row]
        return self.track.transforms[row] if known else None

    def first_seen(self) -> tuple[Fraction, NDArray[np.float64]] | None:
        """When the face is first seen well, past a fade from black, and the transform from that picture to the crop.

        None where the face is never seen.
        """
        track = self.track
        if not track.shown.any():
            return None
        lit = track.tones[:, 0] >= _LIT * np.median(track.tones[track.shown, 0])
        usable = track.absences == Absence.NONE
        row = int(np.argmax(usable * 2.0 + lit + track.shown))
        return self._footage.times[track.indices[row]], track.transforms[row]

    @cached_property
    def _opacities(self) -> NDArray[np.float64]:
        usable = self.track.absences == Absence.NONE if self._output.keep_where_absent else self.track.shown
        return np.concatenate([fades(usable[rows]) for rows in self.track.shot_rows])

    def key(self, index: int, drawn: str) -> str:
        """Key of all the frame depends on; where no face is drawn, the speech and the weights do not count."""
        what = f"{_VERSION} {self._output.mode} {self._appearance.viewer} {self._asset} {self.frames[index]}"
        if not self.draws(index):
            return digest(what)
        return digest(what, drawn, *self._laid(index))

    def _laid(self, index: int) -> tuple[str | bytes, ...]:
        """All that decides how what is drawn is laid into a frame, for its key."""
        settings = f"{self._output.feather!r} {self._output.mouth_only_at(index)!r}"
        return settings, self._placement(index).tobytes()

    def draws(self, index: int) -> bool:
        """Whether the frame's face can be used."""
        return bool(self._opacities[self._rows[index]] > 0)

    def source(self, index: int) -> FrameSource | None:
        """None: the portrait is bent to the frame."""
        return None

    def picture(self, index: int, view: Picture | None) -> Picture:
        """The overlay, RGBA, or the whole frame, RGB."""
        piece = None if view is None else self._piece(index, view)
        if piece and self._appearance.keeps_hdr:
            piece = in_kind(piece, self._appearance.colour)
        if piece and self._output.presence_mark:
            piece = replace(piece, rgba=presence_mark.imprinted(piece.rgba, piece.left, piece.top))
        if self._output.mode == "overlay":
            return overlay(piece, self._appearance.size)
        return composed(self._shown(index), piece)

    def _piece(self, index: int, view: Picture) -> Patch | None:
        """What lies over the footage."""
        amount = self._output.mouth_only_at(index)
        return patch(view, self._placement(index), self._appearance.size, self._output.feather, amount)

    def _shown(self, index: int) -> Picture:
        """The footage's picture, as stored."""
        return self._playback.picture(int(self.frames[index]))

    def _placement(self, index: int) -> Placement:
        row, track = self._rows[index], self.track
        matrix = view_transform(track.transforms[row], self._side)
        return Placement(
            self._from_stored(matrix),
            moved(track.steady_points[row], matrix),
            moved(track.steady_outlines[row].astype(np.float64), matrix),
            track.steady_tones[row],
            float(self._opacities[row]),
        )

    def _from_stored(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """The transform from a picture in stored pixels, given the one from natural proportions."""
        (wide, high), (width, height) = self._appearance.natural_size, self._appearance.size
        return after_scaling(matrix, wide / width, high / height)


def look_through(
    footage: Footage,
    times: Sequence[Fraction],
    face: FaceSelection,
    track_faces: TrackFaces,
    finder: Callable[[], FaceFinder],
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool] = never,
) -> FaceTrack:
    """The selected face in the movie frames on screen at `times`, short misses bridged.

    Args:
        track_faces: follows the selected face.
        finder: makes the face finder.
        progress: told (done, total) frames looked through.
    """
    indices = np.unique(source_frames(times, footage.times, footage.duration))
    steps = iter(range(1, len(indices) + 1))
    found = track_faces(footage, indices.tolist(), face, finder, lambda: progress(next(steps), len(indices)), cancelled)
    return bridged(found)


def fades(usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Opacity in the frames of one shot: 0 where it is not usable, rising with the distance from there to 1."""
    absent = np.flatnonzero(~usable)
    if not len(absent):
        return np.ones(len(usable))
    after = np.searchsorted(absent, np.arange(len(usable)))
    bounds = np.concatenate([[-np.inf], absent, [np.inf]])
    frames = np.arange(len(usable))
    distance = np.minimum(frames - bounds[after], bounds[after + 1] - frames)
    return np.where(usable, np.minimum(distance / (_FADE + 1), 1), 0.0)


def bridged(track: FaceTrack) -> FaceTrack:
    """The track with misses of one or two frames inside a shot filled in on straight lines."""
    measured = {name: getattr(track, name).copy() for name in ("points", "outlines", "axes", "rigid", "lips", "tones")}
    absences = track.absences.copy()
    for rows in track.shot_rows:
        for first, end in flagged(~track.shown[rows]):
            first, end = first + rows.start, end + rows.start
            if end - first > _BRIDGED or first == rows.start or end == rows.stop:
                continue
            for values in measured.values():
                values[first:end] = _between(values[first - 1], values[end], end - first)
            absences[first:end] = np.maximum(absences[first - 1], absences[end])
    return replace(track, **measured, absences=absences)


def _between(before: NDArray, after: NDArray, count: int) -> NDArray:
    share = (np.arange(1, count + 1) / (count + 1)).reshape(-1, *[1] * before.ndim)
    return before + share * (after - before)
