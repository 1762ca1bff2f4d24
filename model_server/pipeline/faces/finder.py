"""Finds faces and their eye and mouth centres, behind one class that another finder could replace.

Two detectors (near and far range) propose boxes, a face mesh on a crop around each box gives 68-landmark-like eye and
mouth centres: the detectors see small faces in large pictures, which the mesh alone misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from model_server.pipeline.faces.alignment import Matrix, Picture, Points, moved, similarity, warp
from model_server.pipeline.faces.crops import roll_step, upright_crop
from model_server.pipeline.faces.detector import Box, Detection
from model_server.pipeline.faces.head_angles import head_axes, turned
from model_server.pipeline.faces.lids import OPEN, eye_ratio
from model_server.pipeline.faces.models import LEAST_PRESENCE, LEAST_SCORE, models
from model_server.pipeline.faces.region import Region
from model_server.pipeline.faces.tiles import Window, seen, tiles
from model_server.pipeline.media.partial import AnyPicture

# Mesh vertices at the places of the 68 landmarks that the published crops were averaged over.
_LEFT_EYE = (33, 160, 158, 133, 153, 144)
_RIGHT_EYE = (362, 385, 387, 263, 373, 380)
_MOUTH = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87)
_OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
OUTLINE_POINTS = len(_OUTLINE)
_OUTER_EYE_CORNERS = (33, 263)
_NOSE_BASE, _INNER_LIPS = 2, (13, 14)
_SAME_FACE_OVERLAP = 0.3
# Upside down, a detector is up to 0.88 sure of a face that it takes for upright; of half of upright ones it is surer.
_SURE_SCORE = 0.9
_DOUBTFUL_SCORE = 0.8
# Of faces seen whole the mesh is surer than that, turned ones too; of most that are covered or upside down it is not.
_SURE_PRESENCE = 0.99
# A mesh that is looked at anew, in the region that it asks for, moves less each time. Left 3 % of a face's width from
# where it would rest it is wrong by 0.6 %, by 0.3 % after another look.
_LOOKS, _CLOSE = 3, 0.03
_MANY_LOOKS, _CLOSEST = 8, 5e-4
# Degrees of yaw and share of the width beyond which a detector has to see the face, too.
_TURNED, _FAR = 36.0, 0.1
# Windows of a picture that are looked at together, as many as models wait for their next user.
_SIDE_BY_SIDE = 2
# Pixels of an aligned crop between eyes or mouth as mesh and detector see them: up to 16 on faces.
_MISPLACED = 20.0
# Portraits fit by 1.09 and more, faces turned far to the side by 0.88 (99 %), a mesh that lies upside down over a face
# by up to 0.96 (99.5 %); what is no face by less than the last one.
_CLEAR_FIT, _SOME_FIT = 1.12, 0.5


@dataclass(frozen=True)
class FoundFace:
    """A face in a picture, all in pixels from the picture's top left corner.

    Attributes:
        box: left, top, right, bottom of the face mesh.
        score: confidence of the detector that saw it last in [0, 1].
        left_eye: centre of the eye on the picture's left (of an upright head), x and y.
        right_eye: centre of the other eye.
        mouth: centre of the lips.
        outline: the face's edge from the middle of the forehead on, clockwise, (36, 2); empty when not measured.
        yaw: degrees the head is turned to the picture's left or right, 0 from the front; the sign tells the side.
        axes: the head's axes, (2, 3), see `head_angles`; zeros when not measured.
        rigid: outer corners of the eyes, left and right in the picture, and base of the nose, (3, 2).
        opening: height of the mouth's opening for the distance between the outer corners of the eyes.
        eyes: height of the eyes for their width, both together, see `lids`.
    """

    box: Box
    score: float
    left_eye: tuple[float, float]
    right_eye: tuple[float, float]
    mouth: tuple[float, float]
    outline: Points = field(default_factory=lambda: np.zeros((0, 2)), compare=False)
    yaw: float = 0.0
    axes: Points = field(default_factory=lambda: np.zeros((2, 3)), compare=False)
    rigid: Points = field(default_factory=lambda: np.zeros((3, 2)), compare=False)
    opening: float = 0.0
    eyes: float = OPEN

    @property
    def points(self) -> Points:
        """Left eye, right eye, mouth as an array (3, 2)."""
        return np.array([self.left_eye, self.right_eye, self.mouth])

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    def moved(self, matrix: Matrix) -> FoundFace:
        """The face in a picture that this one is taken to by a similarity (2, 3)."""
        left_eye, right_eye, mouth = ((x, y) for x, y in moved(self.points, matrix).tolist())
        box = _box(moved(np.reshape(self.box, (2, 2)), matrix))
        outline = moved(self.outline, matrix)
        rest: dict[str, Any] = {
            "outline": outline,
            "axes": turned(self.axes, matrix),
            "rigid": moved(self.rigid, matrix),
        }
        return replace(self, box=box, left_eye=left_eye, right_eye=right_eye, mouth=mouth, **rest)

    @property
    def roll(self) -> float:
        """Degrees that the head leans to the picture's left, from -180 to 180 (upside down)."""
        left, up = (self.points[2] - self.points[:2].mean(axis=0)).tolist()
        return float(np.degrees(np.arctan2(left, up)))

    @property
    def region(self) -> Region:
        """Where a mesh finds the face in the next picture: the line between its eyes is level there."""
        across, down = (self.points[1] - self.points[0]).tolist()
        edge = self.outline if len(self.outline) else np.reshape(self.box, (2, 2))
        return Region.around(edge, -float(np.degrees(np.arctan2(down, across))))

    @property
    def area(self) -> float:
        """Pixels of the box."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def choose(faces: Sequence[FoundFace], at: tuple[float, float] | None, size: tuple[int, int]) -> FoundFace | None:
    """The face nearest `at` (fractions of the picture's `size` = width, height), the largest when None."""
    if at is None or not faces:
        return max(faces, key=lambda face: face.area, default=None)
    return nearest(faces, (at[0] * size[0], at[1] * size[1]))


def nearest(faces: Sequence[FoundFace], point: tuple[float, float]) -> FoundFace:
    """The face whose centre is nearest to `point` in pixels."""
    return min(faces, key=lambda face: np.hypot(face.center[0] - point[0], face.center[1] - point[1]))


class _Rest(NamedTuple):
    """A face as its mesh lies after some looks, how sure the mesh is of it, and how far it moved with the last look."""

    face: FoundFace
    presence: float
    shift: float


class FaceFinder:
    """Finds faces in pictures of any size, also for several threads at once; the models load on first use."""

    def find(self, rgb: AnyPicture, roll: float | None = None) -> list[FoundFace]:
        """Faces of a uint8 RGB picture (height, width, 3), largest first; heads may roll by any angle.

        Args:
            roll: degrees that most heads lean to the left, where that is known.
        """
        if roll is not None:
            return self._find(rgb, _quarters(roll), small=True)
        # Of faces upside down the detectors overlook some.
        return self._find(rgb, 0, small=True) or self._find(rgb, 2, small=False)

    def _find(self, rgb: AnyPicture, turns: int, small: bool) -> list[FoundFace]:
        """Faces of the picture looked at after quarter `turns` to the right, `small` ones in tiles, too."""
        turned = np.rot90(np.asarray(rgb), -turns)
        found: list[FoundFace] = []
        for detection in self._detect(turned, small):
            face = self._face_of(turned, detection)
            if face and all(overlap(face.box, other.box) < _SAME_FACE_OVERLAP for other in found):
                found.append(face)
        found.sort(key=lambda face: face.area, reverse=True)
        back = _turning(turned, turns)
        return [face.moved(back) for face in found]

    def follow(self, rgb: AnyPicture, last: FoundFace) -> FoundFace | None:
        """The same face in a movie's next picture: looked for around its last place, then anywhere."""
        around = self.measure(rgb, last)
        if around:
            return around
        faces = self.find(rgb, last.roll)
        return nearest(faces, last.center) if faces else None

    def measure(self, rgb: AnyPicture, last: FoundFace) -> FoundFace | None:
        """The same face in a movie's next picture, only around its last place.

        Where its mesh alone is sure, the face keeps its score; else it is the detector's there.
        """
        rest = self._rest(rgb, last, _LOOKS, _CLOSE)
        if rest.presence >= _SURE_PRESENCE and rest.shift < _CLOSE and _followed(rest.face, last, rgb):
            return rest.face
        face = self._mesh_face(rgb, last.box, None, last.roll)
        doubtful = face and face.score < _DOUBTFUL_SCORE
        return None if face and doubtful and self._upside_down(rgb, face) else face

    def _rest(self, rgb: AnyPicture, face: FoundFace, looks: int, close: float) -> _Rest:
        """Where the mesh of a face comes to rest when it is looked at again in the region that it asks for.

        Args:
            looks: at most.
            close: the shift that is taken for rest.
        """
        rest = _Rest(face, 1.0, 1.0)
        while looks and rest.presence > LEAST_PRESENCE and rest.shift >= close:
            looks -= 1
            with models() as ready:
                mesh = ready.mesh(rgb, rest.face.region)
            now = _face_from(mesh.points, face.score)
            rest = _Rest(now, mesh.presence, _shift(now, rest.face))
        return rest

    def filling(self, rgb: Picture) -> FoundFace | None:
        """The upright face that fills a picture; nothing is looked for elsewhere, and its score is 0."""
        with models() as ready:
            meshes = ready.meshes(rgb)
        faces = [_face_from(mesh.points, 0.0) for mesh in meshes]
        return nearest(faces, (rgb.shape[1] / 2, rgb.shape[0] / 2)) if faces else None

    def _upside_down(self, rgb: AnyPicture, face: FoundFace) -> bool:
        """Whether a mesh fits better the other way up."""
        other = self._mesh_face(rgb, face.box, 0.0, face.roll + 180)
        return other is not None and _fit(rgb, other) > _fit(rgb, face)

    def _detect(self, rgb: Picture, small: bool) -> list[Detection]:
        """Detections, best first, each face once."""
        whole = Window(0, 0, rgb.shape[1], rgb.shape[0])
        windows = [whole, *(tiles(whole.width, whole.height) if small else [])]
        with ThreadPoolExecutor(_SIDE_BY_SIDE, "faces") as pool:
            found = [one for some in pool.map(partial(_seen_in, rgb), windows) for one in some]
        found.sort(key=lambda detection: detection.score, reverse=True)
        distinct: list[Detection] = []
        for detection in found:
            if all(overlap(detection.box, other.box) < _SAME_FACE_OVERLAP for other in distinct):
                distinct.append(detection)
        return distinct

    def _face_of(self, rgb: AnyPicture, detection: Detection) -> FoundFace | None:
        """The face that was detected, whichever way it is turned."""
        mesh = partial(self._mesh_face, rgb, detection.box, detection.score)
        face = mesh()
        agree = face is not None and _same(face, detection)
        sure = agree and detection.score >= _SURE_SCORE
        if face is None or not (sure or _fit(rgb, face) > _CLEAR_FIT):
            face = _fitting(rgb, [face, *map(mesh, (180, 90, -90))]) or (face if agree else None)
        # Measured as it will be in the next pictures.
        face = (face and roll_step(face.roll) and mesh(face.roll)) or face
        if face is None:
            return None
        rest = self._rest(rgb, face, _MANY_LOOKS, _CLOSEST)
        return rest.face if rest.presence > LEAST_PRESENCE and _followed(rest.face, face, rgb) else face

    def _mesh_face(self, rgb: AnyPicture, box: Box, score: float | None, roll: float = 0) -> FoundFace | None:
        """The face nearest the middle of `box`, measured on a crop around it after turning it by `roll`.

        Without a score it has that of the detector there.
        """
        crop, back = upright_crop(rgb, box, roll)
        with models() as ready:
            meshes = ready.meshes(crop)
        faces = [_face_from(_placed(mesh.points, back), mesh.score if score is None else score) for mesh in meshes]
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        return nearest(faces, middle) if faces else None


def _seen_in(rgb: Picture, window: Window) -> list[Detection]:
    """Detections in a window: of the whole picture by both detectors, of a tile by the one for far faces."""
    with models() as ready:
        is_whole = (window.height, window.width) == rgb.shape[:2]
        detectors = (ready.near, ready.far) if is_whole else (ready.far,)
        return list(seen(rgb, window, *detectors))


def _shift(face: FoundFace, last: FoundFace) -> float:
    """How far eyes and mouth moved, as a share of the face's width."""
    return float(np.abs(face.points - last.points).max()) / max(last.box[2] - last.box[0], 1e-6)


def _followed(face: FoundFace, last: FoundFace, rgb: AnyPicture) -> bool:
    """Whether a mesh can be trusted to have followed a face.

    It loses one that moves far, turns away or leaves the picture: it drifts along, or squeezes itself into the picture.
    """
    left, top, right, bottom = face.box
    inside = min(left, top) >= 0 and right <= rgb.shape[1] and bottom <= rgb.shape[0]
    return inside and abs(face.yaw) < _TURNED and _shift(face, last) < _FAR


def _same(face: FoundFace, detection: Detection) -> bool:
    """Whether a detector saw eyes and mouth where the mesh has them."""
    matrix = similarity(face.points)
    return _alike(moved(face.points, matrix), moved(detection.points, matrix))


def _fitting(rgb: AnyPicture, faces: Sequence[FoundFace | None]) -> FoundFace | None:
    """The one of several meshes laid over a face that fits it best, if any does."""
    fits = [(_fit(rgb, face), face) for face in faces if face]
    fit, best = max(fits, key=itemgetter(0), default=(-1.0, None))
    return best if fit > _SOME_FIT else None


def _alike(points: Points, seen: Points) -> bool:
    """Whether eyes and mouth (3, 2) lie where a detector sees them, in pixels of a crop."""
    return float(np.abs(points - seen).max()) < _MISPLACED


def _fit(rgb: AnyPicture, face: FoundFace) -> float:
    """How well a mesh fits what it lies on: a detector's scores of the face brought upright (twice) less upside down.

    -1 where it sees none, or one with eyes or mouth elsewhere. A mesh is laid over anything: over a face that is upside
    down its eyes lie about the mouth, and its shape is a face's all the same.
    """
    matrix = similarity(face.points)
    crop = warp(rgb, matrix)
    with models() as ready:
        upright, upside_down = ready.near(crop), ready.near(crop[::-1, ::-1])
    seen = max(upright, key=lambda detection: detection.score, default=None)
    if seen is None or not _alike(moved(face.points, matrix), seen.points):
        return -1.0
    return 2 * seen.score - max((detection.score for detection in upside_down), default=LEAST_SCORE)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / max(areas - shared, 1e-9)


def _quarters(roll: float) -> int:
    return round(roll / 90) % 4


def _face_from(places: Points, score: float) -> FoundFace:
    points: Points = places[:, :2]
    left_eye, right_eye, mouth = (_center(points, part) for part in (_LEFT_EYE, _RIGHT_EYE, _MOUTH))
    outline, rigid = points[list(_OUTLINE)], points[[*_OUTER_EYE_CORNERS, _NOSE_BASE]]
    box, axes, opening = _box(points), head_axes(places), _opening(places)
    return FoundFace(box, score, left_eye, right_eye, mouth, outline, _yaw(places), axes, rigid, opening, _eyes(points))


def _eyes(points: Points) -> float:
    """Height over width of both eyes, (n, 2)."""
    marks = np.zeros((1, 48, 2))
    marks[0, 36:] = points[[*_LEFT_EYE, *_RIGHT_EYE]]
    return float(eye_ratio(marks)[0])


def _opening(places: Points) -> float:
    """Of the mouth, for the distance between the outer corners of the eyes."""
    (upper, lower), (left, right) = places[list(_INNER_LIPS)], places[list(_OUTER_EYE_CORNERS)]
    return float(np.linalg.norm(lower - upper)) / max(float(np.linalg.norm(right - left)), 1e-6)


def _placed(places: Points, matrix: Matrix) -> Points:
    """Mesh vertices (n, 3) under a similarity (2, 3) of the picture."""
    return np.column_stack([moved(places[:, :2], matrix), places[:, 2] * np.hypot(matrix[0, 0], matrix[1, 0])])


def _box(points: Points) -> Box:
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, top, right, bottom


def _turning(picture: Picture, turns: int) -> Matrix:
    """The transform (2, 3) of quarter `turns` of a picture to the left."""
    matrix = np.eye(3)
    height, width = picture.shape[:2]
    for _ in range(turns):
        matrix = np.array([[0, 1, 0], [-1, 0, width - 1], [0, 0, 1]]) @ matrix
        height, width = width, height
    return matrix[:2]


def _yaw(places: Points) -> float:
    """Degrees between the line through the outer eye corners and the picture's plane."""
    across = places[_OUTER_EYE_CORNERS[1]] - places[_OUTER_EYE_CORNERS[0]]
    return float(np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1]))))


def _center(points: Points, part: Sequence[int]) -> tuple[float, float]:
    x, y = points[list(part)].mean(axis=0)
    return float(x), float(y)
