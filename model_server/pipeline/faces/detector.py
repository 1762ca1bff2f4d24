"""Face detectors of the BlazeFace kind (Bazarevsky et al., 2019): where faces are, and six points of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.alignment import Matrix, inverse, moved
from model_server.pipeline.faces.network import FaceNetwork

Box = tuple[float, float, float, float]
Floats = NDArray[np.floating]

# Which of the six points are the eye on the picture's left (of an upright head), the other one, the mouth.
_EYES_AND_MOUTH = [0, 1, 3]
# What the networks give for each anchor: middle and size of the box, then x and y of each point.
_VALUES, _BOX_VALUES = 16, 4
# Detections that share more of their area than this are of one face.
_SAME_FACE = 0.3
_LARGEST_LOGIT = 100.0


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
    points: NDArray[np.float64]

    def placed(self, scale: Floats, corner: Floats) -> Detection:
        """The same in a picture of which this one is a part, enlarged by `scale` (2,), with its corner there (2,)."""
        left, top, right, bottom = (np.reshape(self.box, (2, 2)) * scale + corner).ravel().tolist()
        return replace(self, box=(left, top, right, bottom), points=self.points * scale + corner)


class Detector:
    """Finds faces in pictures of any size, each of which it sees in a square of some pixels.

    Args:
        name: of the network.
        grids: of each grid of anchors the distance of its points in pixels, and how many anchors each point has.
    """

    def __init__(self, name: str, grids: Sequence[tuple[int, int]]) -> None:
        self._network = FaceNetwork(name, low=-1)
        self._anchors = np.concatenate([_anchors(self._network.side, *grid) for grid in grids])

    def __call__(self, rgb: NDArray[np.uint8], least_score: float) -> list[Detection]:
        """Faces in a uint8 RGB picture (height, width, 3), the surest first, none below a score."""
        matrix = _letterbox(rgb.shape[1], rgb.shape[0], self._network.side)
        size = self._network.side, self._network.side
        values, logits = self._network(cv2.warpAffine(rgb, matrix, size, flags=cv2.INTER_LINEAR))
        scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -_LARGEST_LOGIT, _LARGEST_LOGIT)))
        rows = np.flatnonzero(scores >= least_score)
        corners = _corners(values.reshape(-1, _VALUES)[rows].astype(np.float64), self._anchors[rows])
        back = inverse(matrix)
        return [_detection(moved(points, back), score) for points, score in _merged(corners, scores[rows])]


def _anchors(side: int, step: int, each: int) -> NDArray[np.float64]:
    """Middles of a grid's cells in pixels, row by row, `each` times, (n, 2)."""
    middles = (np.arange(side // step) + 0.5) * step
    x, y = np.meshgrid(middles, middles)
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), each, axis=0)


def _letterbox(width: int, height: int, side: int) -> Matrix:
    """The transform (2, 3) that fits a picture into the middle of a square."""
    scale = side / max(width, height)
    return np.array([[scale, 0, (side - scale * width) / 2], [0, scale, (side - scale * height) / 2]])


def _corners(values: Floats, anchors: Floats) -> NDArray[np.float64]:
    """Two corners of the box and the six points of each row, (n, 8, 2), in pixels."""
    middle, size = values[:, :2] + anchors, values[:, 2:_BOX_VALUES]
    points = values[:, _BOX_VALUES:].reshape(-1, 6, 2) + anchors[:, None]
    return np.concatenate([(middle - size / 2)[:, None], (middle + size / 2)[:, None], points], axis=1)


def _merged(corners: NDArray[np.float64], scores: Floats) -> Iterator[tuple[NDArray[np.float64], float]]:
    """Weighted non-maximum suppression: each face once, the mean of all that was seen of it, by score."""
    order = np.argsort(-scores, kind="stable")
    while len(order):
        same = _shared(corners[order[0], :2], corners[order, :2]) > _SAME_FACE
        same[0] = True
        weights = scores[order[same]]
        yield np.average(corners[order[same]], axis=0, weights=weights), float(weights[0])
        order = order[~same]


def _shared(box: Floats, boxes: Floats) -> NDArray[np.float64]:
    """Intersection over union of a box (2, 2) with each of several, (n, 2, 2)."""
    sizes = np.minimum(box[1], boxes[:, 1]) - np.maximum(box[0], boxes[:, 0])
    shared = np.maximum(sizes, 0).prod(axis=1)
    areas = np.prod(box[1] - box[0]) + (boxes[:, 1] - boxes[:, 0]).prod(axis=1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def _detection(points: NDArray[np.float64], score: float) -> Detection:
    (left, top), (right, bottom) = points[:2].tolist()
    return Detection((left, top, right, bottom), score, points[2:][_EYES_AND_MOUTH])
