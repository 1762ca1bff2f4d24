"""Takes the mouth's movement out of a film: every frame gets the first frame's mouth, laid over its own."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.corpus.mesh import MeshReader
from model_server.evaluation.clips import EvalClip
from model_server.evaluation.head_pose import RIGID
from model_server.evaluation.views import SIDE, Pictures, batches

_FEATHER = 6.0  # pixels
_CENTRE, _AXES = (112, 146), (46, 40)  # of the mouth with the chin where no face is found, pixels of the view
_GAINS = (0.6, 1.5)

Points = NDArray[np.float32]


class FrozenMouth:
    """Lays the mouth of one frame over others.

    Args:
        view: the frame whose mouth is kept, (224, 224, 3).
        reader: finds faces.
    """

    def __init__(self, view: Pictures, reader: MeshReader) -> None:
        self._view, self._reader = view, reader
        found = reader.read(view)
        self._landmarks = None if found is None else found.landmarks
        self._mask = _mouth_mask(self._landmarks)
        self._matrix = np.eye(2, 3)

    def over(self, view: Pictures) -> Pictures:
        """The frame (224, 224, 3) with the kept mouth; a frame without a face takes it where the last one had it."""
        found = self._reader.read(view)
        if found is not None and self._landmarks is not None:
            self._matrix = _similarity(_anchors(self._landmarks), _anchors(found.landmarks))
        size = (SIDE, SIDE)
        mouth = cv2.warpAffine(self._view, self._matrix, size, borderMode=cv2.BORDER_REPLICATE)
        share = cv2.warpAffine(self._mask, self._matrix, size)[..., None]
        return np.round(share * mouth + (1 - share) * view).astype(np.uint8)


def _similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """Least-squares similarity (2, 3) from points (k, 2) to others; an affine map would magnify noise at the mouth."""
    here, there = ((points - points.mean(axis=0)) @ [1, 1j] for points in (source, target))
    factor = np.vdot(here, there) / np.vdot(here, here)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, target.mean(axis=0) - turn @ source.mean(axis=0)])


def _anchors(landmarks: Points) -> Points:
    """Points that the mouth does not move: nose and eye corners, and the ends of the jaw line."""
    return landmarks[[*RIGID, 1, 2, 14, 15]]


def _mouth_mask(landmarks: Points | None) -> NDArray[np.float32]:
    """Soft ellipse (224, 224) around mouth and chin."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    if landmarks is None:
        cv2.ellipse(mask, _CENTRE, _AXES, 0, 0, 360, (1.0,), -1)
    else:
        nose, chin = landmarks[33], landmarks[8]
        x, y = nose + 0.65 * (chin - nose)  # beyond the chin: jaw and cheeks speak too
        width, height = 1.1 * np.ptp(landmarks[48:60, 0]), 0.65 * np.linalg.norm(chin - nose)
        cv2.ellipse(mask, (int(x), int(y)), (int(width), int(height)), 0, 0, 360, (1.0,), -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), _FEATHER), np.float32)


def frozen(take: EvalClip, reader: MeshReader) -> Iterator[Pictures]:
    """A take's true frames with the mouth of the first, in batches."""
    mouth = FrozenMouth(take.views(0, 1)[0], reader)
    for first, end in batches(take.count):
        yield np.stack([mouth.over(view) for view in take.views(first, end)])


def recoloured(pictures: Pictures, seed: int) -> Pictures:
    """Pictures (n, h, w, 3) under one random gain per channel, drawn from a seed."""
    gains = np.random.default_rng(seed).uniform(*_GAINS, 3)
    return np.clip(np.round(pictures * gains), 0, 255).astype(np.uint8)
