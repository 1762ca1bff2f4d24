"""Finds faces and their eye and mouth centres, with mediapipe, behind one class that another finder could replace.

Two detectors (near and far range) propose boxes, a face mesh on a crop around each box gives 68-landmark-like eye and
mouth centres: the detectors see small faces in large pictures, which the mesh alone misses.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import ceil
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Box = tuple[float, float, float, float]

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
_CROP_FACTOR = 2.2
_THUMBNAIL_FACTOR = 1.5
_CROP_SIDE = 448
_SAME_FACE_OVERLAP = 0.3
_DETECTION_SIDE = 640
_SMALLEST_TILE = 240
_STDERR_LOCK = Lock()


@dataclass(frozen=True)
class FoundFace:
    """A face in a picture, all in pixels from the picture's top left corner.

    Attributes:
        box: left, top, right, bottom of the face mesh.
        score: detector confidence in [0, 1].
        left_eye: centre of the eye on the picture's left (of an upright head), x and y.
        right_eye: centre of the other eye.
        mouth: centre of the lips.
        outline: the face's edge from the middle of the forehead on, clockwise, (36, 2); empty when not measured.
        yaw: degrees the head is turned to the picture's left or right, 0 from the front; the sign tells the side.
    """

    box: Box
    score: float
    left_eye: tuple[float, float]
    right_eye: tuple[float, float]
    mouth: tuple[float, float]
    outline: Points = field(default_factory=lambda: np.zeros((0, 2)), compare=False)
    yaw: float = 0.0

    @property
    def points(self) -> Points:
        """Left eye, right eye, mouth as an array (3, 2)."""
        return np.array([self.left_eye, self.right_eye, self.mouth])

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

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


class FaceFinder:
    """Finds faces in pictures of any size, also for several threads at once; the models load on first use."""

    def find(self, rgb: NDArray[np.uint8]) -> list[FoundFace]:
        """Faces of a uint8 RGB picture (height, width, 3), largest first; heads may roll by about 45 degrees."""
        found: list[FoundFace] = []
        for box, score in self._detect(rgb):
            face = self._mesh_face(rgb, box, score)
            if face and all(overlap(face.box, other.box) < _SAME_FACE_OVERLAP for other in found):
                found.append(face)
        return sorted(found, key=lambda face: face.area, reverse=True)

    def follow(self, rgb: NDArray[np.uint8], last: FoundFace) -> FoundFace | None:
        """The same face in a movie's next picture: looked for around its last place, then anywhere."""
        around = self._mesh_face(rgb, last.box, last.score)
        if around:
            return around
        faces = self.find(rgb)
        return nearest(faces, last.center) if faces else None

    def measure(self, rgb: NDArray[np.uint8], last: FoundFace) -> FoundFace | None:
        """The same face in a movie's next picture, only around its last place; its score is the detector's there."""
        face = self._mesh_face(rgb, last.box, 0.0)
        if face is None:
            return None
        crop, _ = _square_around(rgb, face.box)
        with _models() as models:
            detections = models.near.process(_shrunk(crop, _CROP_SIDE)).detections or []
        return replace(face, score=max((float(found.score[0]) for found in detections), default=0.0))

    def _detect(self, rgb: NDArray[np.uint8]) -> list[tuple[Box, float]]:
        """Boxes in pixels with their scores, best first, each face once."""
        height, width = rgb.shape[:2]
        with _models() as models:
            boxes = [box for model in (models.near, models.far) for box in _boxes(model, rgb, 0, 0, width, height)]
            for left, top, side in _tiles(width, height):
                boxes += _boxes(models.far, rgb, left, top, side, side)
        boxes.sort(key=lambda found: found[1], reverse=True)
        distinct: list[tuple[Box, float]] = []
        for box, score in boxes:
            if all(overlap(box, other) < _SAME_FACE_OVERLAP for other, _ in distinct):
                distinct.append((box, score))
        return distinct

    def _mesh_face(self, rgb: NDArray[np.uint8], box: Box, score: float) -> FoundFace | None:
        """The face nearest the middle of `box`, measured on a crop around it."""
        crop, origin = _square_around(rgb, box)
        with _models() as models:
            meshes = models.mesh.process(_shrunk(crop, _CROP_SIDE)).multi_face_landmarks or []
        faces = [_face_from(mesh, crop.shape[0], origin, score) for mesh in meshes]
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        return nearest(faces, middle) if faces else None


class _Models:
    """Models of one user at a time; they remember nothing from one picture to the next."""

    @cached_property
    def near(self) -> Any:
        return _detector(0)

    @cached_property
    def far(self) -> Any:
        return _detector(1)

    @cached_property
    def mesh(self) -> Any:
        mesh = _mediapipe().solutions.face_mesh.FaceMesh
        return _started(partial(mesh, static_image_mode=True, max_num_faces=3, min_detection_confidence=0.4))


# Loading takes half a second, so models that are done with wait for their next user.
_IDLE: deque[_Models] = deque(maxlen=2)


@contextmanager
def _models() -> Iterator[_Models]:
    try:
        models = _IDLE.pop()
    except IndexError:
        models = _Models()
    yield models
    _IDLE.append(models)


def _detector(near_or_far: int) -> Any:
    return _started(partial(_mediapipe().solutions.face_detection.FaceDetection, 0.5, near_or_far))


def _mediapipe() -> Any:
    # Its native libraries log to stderr; these must be set before they load.
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import mediapipe

    return mediapipe


def _started(build: Callable[[], Any]) -> Any:
    """A model after its first run, during which its libraries write notes that no setting turns off."""
    with _silent_stderr():
        model = build()
        model.process(np.zeros((64, 64, 3), np.uint8))
    return model


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr; the lock keeps two threads from restoring each other's."""
    with _STDERR_LOCK:
        try:
            kept = os.dup(2)
        except OSError:  # a process without a console has no stderr
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _shrunk(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The picture with its longer side at most `side`; the models see less than that anyway."""
    scale = side / max(rgb.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(rgb)
    return cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _boxes(
    detector: Any, rgb: NDArray[np.uint8], left: int, top: int, width: int, height: int
) -> list[tuple[Box, float]]:
    """Detections in a window of the picture, in the picture's pixels, with their scores."""
    result = detector.process(_shrunk(rgb[top : top + height, left : left + width], _DETECTION_SIDE))
    boxes = []
    for detection in result.detections or []:
        box = detection.location_data.relative_bounding_box
        x, y = left + box.xmin * width, top + box.ymin * height
        boxes.append(((x, y, x + box.width * width, y + box.height * height), float(detection.score[0])))
    return boxes


def _tiles(width: int, height: int) -> list[tuple[int, int, int]]:
    """Overlapping square windows (left, top, side) in which faces too small for the whole picture are found."""
    side = min(width, height) // 2
    if side < _SMALLEST_TILE:
        return []
    return [(left, top, side) for top in _offsets(height, side) for left in _offsets(width, side)]


def _offsets(length: int, side: int) -> list[int]:
    """Beginnings of windows that cover `length`, overlapping by three tenths or more."""
    count = ceil((length - side) / (0.7 * side)) + 1
    return [round(k * (length - side) / (count - 1)) for k in range(count)]


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / max(areas - shared, 1e-9)


def _square_around(
    rgb: NDArray[np.uint8], box: Box, factor: float = _CROP_FACTOR
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Square crop of `factor` times the box around its middle, black outside, and its top left corner."""
    side = max(round(factor * max(box[2] - box[0], box[3] - box[1])), 16)
    left, top = round((box[0] + box[2] - side) / 2), round((box[1] + box[3] - side) / 2)
    crop = np.zeros((side, side, 3), np.uint8)
    inside = rgb[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    y, x = max(-top, 0), max(-left, 0)
    crop[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return crop, (left, top)


def thumbnail(rgb: NDArray[np.uint8], face: FoundFace, side: int) -> NDArray[np.uint8]:
    """The face with a little around it, (side, side, 3)."""
    square, _ = _square_around(rgb, face.box, _THUMBNAIL_FACTOR)
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _face_from(mesh: Any, side: int, origin: tuple[int, int], score: float) -> FoundFace:
    places = np.array([(point.x, point.y, point.z) for point in mesh.landmark]) * float(side)
    points: Points = places[:, :2] + np.array(origin, float)
    left_eye, right_eye, mouth = (_center(points, part) for part in (_LEFT_EYE, _RIGHT_EYE, _MOUTH))
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    box = (float(left), float(top), float(right), float(bottom))
    return FoundFace(box, score, left_eye, right_eye, mouth, points[list(_OUTLINE)], _yaw(places))


def _yaw(places: Points) -> float:
    """Degrees between the line through the outer eye corners and the picture's plane."""
    across = places[_OUTER_EYE_CORNERS[1]] - places[_OUTER_EYE_CORNERS[0]]
    return float(np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1]))))


def _center(points: Points, part: Sequence[int]) -> tuple[float, float]:
    x, y = points[list(part)].mean(axis=0)
    return float(x), float(y)
