"""mediapipe's face detectors and face mesh, loaded on first use, quiet, and for one user at a time."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Box = tuple[float, float, float, float]

# Which of the detectors' six points are the eye on the picture's left (of an upright head), the other one, the mouth.
_EYES_AND_MOUTH = (0, 1, 3)
# Detections of a lower score are not told.
LEAST_SCORE = 0.5
_STDERR_LOCK = Lock()


@dataclass(frozen=True)
class Detection:
    """Where a detector sees a face, in pixels of the picture it was shown.

    Attributes:
        box: left, top, right, bottom.
        score: confidence in [0, 1].
        points: left eye, right eye, mouth, (3, 2).
    """

    box: Box
    score: float
    points: Points

    def placed(self, scale: Points, corner: Points) -> Detection:
        """The same in a picture of which this one is a part, enlarged by `scale` (2,), with its corner there (2,)."""
        left, top, right, bottom = (np.reshape(self.box, (2, 2)) * scale + corner).ravel().tolist()
        return Detection((left, top, right, bottom), self.score, self.points * scale + corner)


class Models:
    """Models of one user at a time; they remember nothing from one picture to the next."""

    def __init__(self) -> None:
        self._met_a_face = False

    def near(self, rgb: Picture) -> list[Detection]:
        """Faces that fill a good part of a uint8 RGB picture (height, width, 3)."""
        return _detections(self._near, rgb)

    def far(self, rgb: Picture) -> list[Detection]:
        """Faces that are smaller."""
        return _detections(self._far, rgb)

    def meshes(self, rgb: Picture) -> list[Points]:
        """Mesh vertices of up to three faces, each (468, 3): pixels from the top left corner, and depth in pixels."""
        mesh = self._mesh
        # It has one more note to write when it first meets a face.
        with nullcontext() if self._met_a_face else _silent_stderr():
            found = mesh.process(np.ascontiguousarray(rgb)).multi_face_landmarks or []
        self._met_a_face = self._met_a_face or bool(found)
        size = np.array([rgb.shape[1], rgb.shape[0], rgb.shape[1]], float)
        return [np.array([(point.x, point.y, point.z) for point in mesh.landmark]) * size for mesh in found]

    @cached_property
    def _near(self) -> Any:
        return _detector(0)

    @cached_property
    def _far(self) -> Any:
        return _detector(1)

    @cached_property
    def _mesh(self) -> Any:
        mesh = _mediapipe().solutions.face_mesh.FaceMesh
        return _started(partial(mesh, static_image_mode=True, max_num_faces=3, min_detection_confidence=0.4))


def _detections(detector: Any, rgb: Picture) -> list[Detection]:
    size = np.array(rgb.shape[1::-1], float)
    found = []
    for detection in detector.process(np.ascontiguousarray(rgb)).detections or []:
        place = detection.location_data
        box = place.relative_bounding_box
        corners = (box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height)
        points = np.array([(place.relative_keypoints[k].x, place.relative_keypoints[k].y) for k in _EYES_AND_MOUTH])
        found.append(Detection(corners, float(detection.score[0]), points).placed(size, np.zeros(2)))
    return found


# Loading takes half a second, so models that are done with wait for their next user.
_IDLE: deque[Models] = deque(maxlen=2)


@contextmanager
def models() -> Iterator[Models]:
    try:
        models = _IDLE.pop()
    except IndexError:
        models = Models()
    yield models
    _IDLE.append(models)


def _detector(near_or_far: int) -> Any:
    return _started(partial(_mediapipe().solutions.face_detection.FaceDetection, LEAST_SCORE, near_or_far))


def _mediapipe() -> Any:
    # Its native libraries log to stderr; these must be set before they load.
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_plots():
        import mediapipe

    return mediapipe


@contextmanager
def _without_plots() -> Iterator[None]:
    """Let mediapipe load without matplotlib, which takes longer than the rest and is for plots that nobody asks for."""
    names = [name for name in ("matplotlib", "matplotlib.pyplot") if name not in sys.modules]
    sys.modules.update((name, ModuleType(name)) for name in names)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


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
