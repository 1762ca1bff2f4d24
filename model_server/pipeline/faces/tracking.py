"""One chosen face through a movie and past its cuts, and in which frames it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from functools import cached_property
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.errors import PoseDubError
from model_server.pipeline.faces.alignment import clip_transforms, warp
from model_server.pipeline.faces.color_transfer import face_tone
from model_server.pipeline.faces.face_reid import SAME_PERSON, FaceFeature, Gallery, face_feature
from model_server.pipeline.faces.finder import OUTLINE_POINTS, FaceFinder, FoundFace, Points, choose, overlap
from model_server.pipeline.faces.head_angles import angles_of
from model_server.pipeline.faces.lower_face import HeadPlace, span_of
from model_server.pipeline.faces.shots import ShotDetector
from model_server.pipeline.faces.smoothing import steadied
from model_server.pipeline.media.containers import never
from model_server.pipeline.media.partial import AnyPicture
from model_server.pipeline.media.video import Footage
from model_server.pipeline.prefetch import prefetch
from model_server.pipeline.request import FaceSelection, Viewer
from model_server.pipeline.result_cache import ResultCache, digest

Picture = NDArray[np.uint8]

MAX_YAW = 50.0
# A head that was turned away has to turn back so far; else a head near the limit would flicker.
BACK_YAW = 45.0
MIN_SCORE = 0.5
# Share of the face's area that may lie outside the picture.
MAX_OUTSIDE = 0.1
_SAME_PLACE = 0.3
# How much a step of one face width, or a doubling of the size, weighs against the face_feature.
_PLACE, _SIZE = 0.3, 0.3
_PLACE_LIMIT = 1.0
_AREA_GRID = 128
_SHARPNESS_SIDE = 96
# Frames in which somebody alone is looked at once to be known again.
_LEARN_EACH = 5
DECODED_AHEAD = 2
# Part of the key under which tracks are stored: to be changed with anything that changes them.
_VERSION = "faces 11"


_ARRAYS = ("indices", "shots", "points", "outlines", "axes", "rigid", "lips", "eyes", "tones", "absences")

TrackFaces = Callable[..., "FaceTrack"]


class Absence(IntEnum):
    """Why a frame's face cannot be used."""

    NONE = 0
    NO_FACE = 1
    TURNED_AWAY = 2
    CUT_OFF = 3


@dataclass(frozen=True)
class FaceTrack:
    """The chosen face in n frames of footage, in pixels of its pictures.

    Attributes:
        indices: footage frames, ascending, (n,).
        shots: number of each frame's shot, (n,).
        points: left eye, right eye and mouth, (n, 3, 2), NaN where there is no face; as measured.
        outlines: edge of the face, (n, 36, 2), NaN where there is no face; as measured.
        axes: the head's axes, (n, 2, 3), see `head_angles`; NaN where there is no face.
        rigid: outer corners of the eyes and base of the nose, (n, 3, 2), NaN where there is no face; as measured.
        lips: the mouth's opening, see `FoundFace`, and the sharpness of the lower face, (n, 2); NaN without a face.
        eyes: height of the eyes for their width, (n,), NaN without a face.
        tones: mean and deviation of the upper face's Lab colours, (n, 6), NaN where there is no face.
        absences: `Absence` of each frame, (n,).
        width: of the pictures.
        height: of the pictures.
        faces: how many were seen when the largest was taken; 1 where a face was chosen.
    """

    indices: NDArray[np.int64]
    shots: NDArray[np.int64]
    points: Points
    outlines: Points
    axes: Points
    rigid: Points
    lips: Points
    eyes: NDArray[np.float64]
    tones: NDArray[np.float64]
    absences: NDArray[np.int64]
    width: int
    height: int
    faces: int = 1

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Whether a frame shows the face, usable or not, (n,)."""
        return self.absences != Absence.NO_FACE

    @cached_property
    def cuts(self) -> tuple[int, ...]:
        """Rows that begin a shot, but for the first one."""
        return tuple((np.flatnonzero(np.diff(self.shots)) + 1).tolist())

    @cached_property
    def shot_rows(self) -> tuple[slice, ...]:
        """Rows of each shot."""
        edges = [0, *self.cuts, len(self.shots)]
        return tuple(slice(first, end) for first, end in zip(edges, edges[1:], strict=False))

    @cached_property
    def steady_points(self) -> Points:
        """`points`, steadied in time within each shot."""
        return np.concatenate([steadied(self.points[rows], self.points[rows]) for rows in self.shot_rows])

    @cached_property
    def steady_outlines(self) -> Points:
        """`outlines`, steadied like the points."""
        return np.concatenate([steadied(self.outlines[rows], self.points[rows]) for rows in self.shot_rows])

    @cached_property
    def steady_axes(self) -> Points:
        """`axes`, steadied like the points."""
        return np.concatenate([steadied(self.axes[rows], self.points[rows]) for rows in self.shot_rows])

    @cached_property
    def steady_rigid(self) -> Points:
        """`rigid`, steadied like the points."""
        return np.concatenate([steadied(self.rigid[rows], self.points[rows]) for rows in self.shot_rows])

    @cached_property
    def spans(self) -> NDArray[np.float64]:
        """See `HeadPlace.span`, (n,)."""
        left, right, _ = np.moveaxis(self.steady_rigid, 1, 0)
        return span_of(left, right, angles_of(self.steady_axes))

    def place(self, row: int) -> HeadPlace:
        """Where the head is in a row's picture, steady in time; the row shows it."""
        *corners, nose = self.steady_rigid[row]
        return HeadPlace.of(nose, np.stack(corners), angles_of(self.steady_axes[row]))

    @cached_property
    def steady_tones(self) -> NDArray[np.float64]:
        """`tones`, steadied like the points."""
        return np.concatenate([steadied(self.tones[rows], self.points[rows]) for rows in self.shot_rows])

    @cached_property
    def transforms(self) -> NDArray[np.float64]:
        """From picture to crop, (n, 2, 3): `clip_transforms` of the steady points, each shot by itself.

        NaN in shots that never show the face.
        """
        result = np.full((len(self.indices), 2, 3), np.nan)
        for rows in self.shot_rows:
            if self.shown[rows].any():
                result[rows] = clip_transforms(self.steady_points[rows], new_share=1)
        return result

    def pack(self) -> bytes:
        """For the store."""
        file = BytesIO()
        numbers = np.array([self.width, self.height, self.faces])
        arrays = {name: value for name, value in vars(self).items() if name in _ARRAYS}
        np.savez_compressed(file, numbers=numbers, **arrays)
        return file.getvalue()

    @staticmethod
    def unpack(content: bytes) -> FaceTrack:
        """Inverse of `pack`."""
        with np.load(BytesIO(content), allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        width, height, faces = map(int, arrays.pop("numbers"))
        return FaceTrack(**arrays, width=width, height=height, faces=faces)


def track_face(
    footage: Footage,
    indices: Sequence[int],
    selection: FaceSelection,
    finder: Callable[[], FaceFinder],
    progress: Callable[[], None] = lambda: None,
    cancelled: Callable[[], bool] = never,
) -> FaceTrack:
    """Follow the selected face through the frames `indices` (ascending), past cuts and absences.

    Nearest place and size decide, the face_feature where they do not: at the beginning of a shot, after an absence and
    among several people.

    Raises:
        PoseDubError: the selection's moment shows no face, or cancelled.
    """
    follower = _Follower(finder(), selection)
    if selection.time is not None:
        follower.pick(footage.frame_at(selection.time), selection.time)
    shots = ShotDetector()
    rows = _Rows(len(indices))
    pictures = prefetch(footage.iter_partly(indices, cancelled), DECODED_AHEAD)
    for row, (_, picture) in enumerate(pictures):
        rows.height, rows.width = picture.shape[:2]
        face = follower.next(picture, shots.feed(picture))
        if face:
            rows.put(row, face, picture)
        progress()
    starts = np.isin(np.arange(len(indices)), shots.starts)
    return FaceTrack(
        np.array(indices, np.int64), np.cumsum(starts) - 1, rows.points, rows.outlines, rows.axes, rows.rigid,
        rows.lips, rows.eyes, rows.tones, rows.absences, rows.width, rows.height, follower.faces,
    )  # fmt: skip


def remembered(results: ResultCache, asset: str, viewer: Viewer = "player") -> TrackFaces:
    """`track_face` for the footage `asset` as a viewer shows it, from the store when it tracked these frames before."""

    def track(
        footage: Footage,
        indices: Sequence[int],
        selection: FaceSelection,
        finder: Callable[[], FaceFinder],
        progress: Callable[[], None],
        cancelled: Callable[[], bool],
    ) -> FaceTrack:
        key = digest(_VERSION, asset, viewer, repr(selection), np.array(indices, np.int64).tobytes())
        blob = results.result(key)
        if blob:
            return FaceTrack.unpack(results.read(blob))
        made = track_face(footage, indices, selection, finder, progress, cancelled)
        results.keep(key, made.pack())
        return made

    return track


class _Rows:
    """Measurements of the frames met so far."""

    def __init__(self, count: int) -> None:
        self.points = np.full((count, 3, 2), np.nan)
        self.outlines = np.full((count, OUTLINE_POINTS, 2), np.nan)
        self.axes = np.full((count, 2, 3), np.nan)
        self.rigid = np.full((count, 3, 2), np.nan)
        self.lips = np.full((count, 2), np.nan)
        self.eyes = np.full(count, np.nan)
        self.tones = np.full((count, 6), np.nan)
        self.absences = np.full(count, Absence.NO_FACE, np.int64)
        self.width = self.height = 0

    def put(self, row: int, face: FoundFace, picture: AnyPicture) -> None:
        self.points[row], self.outlines[row], self.axes[row] = face.points, face.outline, face.axes
        self.rigid[row], self.lips[row] = face.rigid, (face.opening, sharpness(picture, face))
        self.eyes[row] = face.eyes
        self.tones[row] = face_tone(picture, face.points, face.outline)
        away = row > 0 and self.absences[row - 1] == Absence.TURNED_AWAY
        self.absences[row] = absence(face, (self.width, self.height), BACK_YAW if away else MAX_YAW)


def sharpness(picture: AnyPicture, face: FoundFace) -> float:
    """Contrast of the lower face's finest details for its contrast as a whole, at a size that shows them."""
    *corners, nose = face.rigid
    place = HeadPlace.of(nose, np.stack(corners), angles_of(face.axes))
    grey = cv2.cvtColor(warp(picture, place.crop(_SHARPNESS_SIDE), _SHARPNESS_SIDE), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std() / max(float(grey.std()), 1.0))


def absence(face: FoundFace, size: tuple[int, int], max_yaw: float = MAX_YAW) -> Absence:
    """Whether a face found in a picture of `size` (width, height) can be used."""
    if outside(face.outline, size) > MAX_OUTSIDE:
        return Absence.CUT_OFF
    if abs(face.yaw) > max_yaw or face.score < MIN_SCORE:
        return Absence.TURNED_AWAY
    return Absence.NONE


def outside(outline: Points, size: tuple[int, int]) -> float:
    """Share of a polygon's area (n, 2) that lies outside a picture of `size` (width, height)."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    if low.min() >= 0 and (high <= np.subtract(size, 1)).all():
        return 0.0
    scale = _AREA_GRID / max(float((high - low).max()), 1e-6)
    shape = np.zeros((_AREA_GRID + 1, _AREA_GRID + 1), np.uint8)
    cv2.fillPoly(shape, [np.rint((outline - low) * scale).astype(np.int32)], (1,))
    y, x = np.nonzero(shape)
    x, y = x / scale + low[0], y / scale + low[1]
    inside = (x >= -0.5) & (y >= -0.5) & (x <= size[0] - 0.5) & (y <= size[1] - 0.5)
    return 1 - float(inside.mean())


class _Follower:
    """Decides picture by picture which face is the chosen one.

    Attributes:
        faces: how many were seen when the largest was taken; 1 where a face was chosen.
    """

    def __init__(self, finder: FaceFinder, selection: FaceSelection) -> None:
        self._finder = finder
        self._at = selection.at
        self.faces = 1
        self._own, self._others = Gallery(), Gallery()
        self._last: FoundFace | None = None
        self._lost = True
        self._known = False
        self._followed = 0

    def pick(self, picture: AnyPicture, time: Fraction) -> None:
        """Learn whom is meant from the picture that the selection points into."""
        if self._choose(picture) is None:
            raise PoseDubError(
                f"No face was found at {float(time):.2f} s of the footage; choose the face at another moment."
            )
        self._lost = True

    def next(self, picture: AnyPicture, cut: bool) -> FoundFace | None:
        """The chosen face in the next picture, None where it is gone."""
        if not self._known:
            return self._choose(picture)
        face = None if cut or self._lost else self._stayed(picture)
        face = face or self._found_again(picture)
        self._lost = face is None
        self._last = face or self._last
        return face

    def _choose(self, picture: AnyPicture) -> FoundFace | None:
        faces = self._finder.find(picture)
        found = choose(faces, self._at, (picture.shape[1], picture.shape[0]))
        if found is None:
            return None
        self.faces = len(faces) if self._at is None else 1
        self._own.learn(face_feature(picture, found))
        self._learn_others(picture, faces, found)
        self._known, self._lost, self._last = True, False, self._settled(picture, found)
        return self._last

    def _settled(self, picture: AnyPicture, found: FoundFace) -> FoundFace:
        """A found face measured as it will be in the next pictures; else its place would jump there."""
        face = self._finder.measure(picture, found)
        return face if face and overlap(face.box, found.box) >= _SAME_PLACE else found

    def _learn_others(self, picture: AnyPicture, faces: Sequence[FoundFace], own: FoundFace) -> None:
        for face in faces:
            if face is not own:
                self._others.learn(face_feature(picture, face))

    def _stayed(self, picture: AnyPicture) -> FoundFace | None:
        """The face if it is about where it was and looks like itself."""
        if self._last is None:
            return None
        face = self._finder.measure(picture, self._last)
        if face is None or overlap(face.box, self._last.box) < _SAME_PLACE:
            return None
        self._followed += 1
        # Nobody else is known who could have taken the place.
        if self._others.views or self._followed % _LEARN_EACH == 0:
            seen = face_feature(picture, face)
            if self._strange(seen):
                return None
            self._own.learn(seen)
        return face

    def _strange(self, seen: FaceFeature) -> bool:
        """Whether a face in the right place is surely another person's."""
        distance = self._own.distance(seen)
        return distance > SAME_PERSON and distance > self._others.distance(seen)

    def _found_again(self, picture: AnyPicture) -> FoundFace | None:
        """The most similar face anywhere, unless it is another person's."""
        faces = self._finder.find(picture, self._last.roll if self._last else None)
        looks = [face_feature(picture, face) for face in faces]
        costs = [self._cost(face, seen) for face, seen in zip(faces, looks, strict=True)]
        best = int(np.argmin(costs)) if costs else -1
        if best < 0 or not np.isfinite(costs[best]):
            return None
        self._own.learn(looks[best])
        self._learn_others(picture, faces, faces[best])
        return self._settled(picture, faces[best])

    def _cost(self, face: FoundFace, seen: FaceFeature) -> float:
        distance = self._own.distance(seen)
        if distance > SAME_PERSON or distance > self._others.distance(seen):
            return np.inf
        last = self._last or face
        side = np.sqrt(max(last.area, 1))
        step = float(np.hypot(face.center[0] - last.center[0], face.center[1] - last.center[1])) / side
        size = abs(float(np.log2(max(face.area, 1) / max(last.area, 1)))) / 2
        return distance + min(_PLACE * step + _SIZE * size, _PLACE_LIMIT)
