"""Ways to read pose codes off real footage: by the pose encoder, by the face mesh's angles, or by both.

An encoder that has seen few real faces reads small turns poorly; the mesh reads them well, and weights with a pose map
say which code belongs to them. Which is better for some weights is measured (`posedub weights pose`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import PoseReading, PoseReadingChoice, WeightsInfo
from model_server.engines.pose_map import PoseMap
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.head_angles import angles_of
from model_server.pipeline.faces.smoothing import steadied

Picture = NDArray[np.uint8]
Rows = NDArray[np.intp]
Codes = NDArray[np.float32]
Encode = Callable[[Picture], Codes]


class Heads(Protocol):
    """A head in m >= 1 pictures, in order."""

    @property
    def shots(self) -> NDArray[np.int_]:
        """Number of each picture's shot, (m,), ascending."""
        ...

    def angles(self) -> NDArray[np.float32] | None:
        """Yaw, pitch and roll (m, 3) in degrees as the network views show the head; None where no mesh fits it."""
        ...

    def views(self, rows: Rows) -> Iterator[Picture]:
        """Network views (224, 224, 3) of some of the pictures."""
        ...


@dataclass(frozen=True)
class PoseReader:
    """Reads pose codes.

    Attributes:
        encode: network views, uint8 (b, 224, 224, 3), to codes, (b, p).
        batch: network views per call of it.
        reading: "encoder" encodes each view; "angles" takes the codes of the mesh's angles; "movement" takes the
            mesh's movement from the encoded first view of each shot on.
        pose_map: of the same weights; needed for all readings but "encoder".
    """

    encode: Encode
    batch: int = 16
    reading: PoseReading = "encoder"
    pose_map: PoseMap | None = None

    def codes(self, heads: Heads) -> Codes:
        """Codes (m, p). Where no mesh fits the head, the encoder alone reads it."""
        angles = None if self.reading == "encoder" else heads.angles()
        if angles is None or self.pose_map is None:
            return self._encoded(heads.views(np.arange(len(heads.shots))))
        codes = self.pose_map.codes(angles)
        if self.reading == "angles":
            return codes
        _, starts, shots = np.unique(heads.shots, return_index=True, return_inverse=True)
        away = self._encoded(heads.views(starts)) - codes[starts]
        return codes + away[shots]

    def _encoded(self, views: Iterable[Picture]) -> Codes:
        codes: list[Codes] = []
        waiting: list[Picture] = []
        for view in views:
            waiting.append(view)
            if len(waiting) == self.batch:
                codes.append(self.encode(np.stack(waiting)))
                waiting = []
        if waiting:
            codes.append(self.encode(np.stack(waiting)))
        return np.concatenate(codes)


def resolved(choice: PoseReadingChoice, weights: WeightsInfo) -> PoseReading:
    """How pose sources are read with weights: "auto" is what was measured to be better.

    Raises:
        PoseDubError: the weights do not tell which codes belong to angles.
    """
    if choice == "auto":
        return weights.pose_reading
    if choice != "encoder" and weights.pose_map is None:
        raise PoseDubError(
            f"The weights {weights.name} do not tell head angles, so that {choice} cannot be read from a face; set the "
            "pose reading to encoder or auto.",
            ErrorKind.UNSUPPORTED,
        )
    return choice


def measured_angles(pictures: Iterable[Picture], finder: FaceFinder) -> NDArray[np.float32] | None:
    """Angles (m, 3) of the face that fills each of m pictures of one shot, steady in time.

    Pictures on which no mesh fits hold their neighbour's; None where it fits on none.
    """
    faces = [finder.filling(picture) for picture in pictures]
    seen = np.flatnonzero([face is not None for face in faces])
    if not len(seen):
        return None
    known = [face for face in faces if face]
    points = np.stack([face.points for face in known])
    axes = steadied(np.stack([face.axes for face in known]), points)
    nearest = np.abs(np.arange(len(faces))[:, None] - seen).argmin(axis=1)
    return angles_of(axes)[nearest]
