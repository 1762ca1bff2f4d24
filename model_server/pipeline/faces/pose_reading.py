"""Ways to read pose codes off real footage: by the pose encoder, by the face mesh's angles, or by both.

An encoder that has seen few real faces reads small turns poorly; the mesh reads them well, and weights with a pose map
say which code belongs to them. Which is better for some weights is measured (`posedub weights pose`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import PoseReading, PoseReadingChoice, WeightsInfo
from model_server.engines.pose_map import PoseMap
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.head_angles import angles_of
from model_server.pipeline.faces.parts import Parts, Rows
from model_server.pipeline.faces.smoothing import steadied

Picture = NDArray[np.uint8]
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
        parts: of what is read of each picture by itself; others may have read some.
    """

    encode: Encode
    batch: int = 16
    reading: PoseReading = "encoder"
    pose_map: PoseMap | None = None
    parts: Parts = field(default_factory=Parts)

    def codes(self, heads: Heads) -> Codes:
        """Codes (m, p). Where no mesh fits the head, the encoder alone reads it."""
        angles = None if self.reading == "encoder" else heads.angles()
        if angles is None or self.pose_map is None:
            return self.parts.of("codes", np.arange(len(heads.shots)), lambda rows: self._encoded(heads.views(rows)))
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
    """Angles (m, 3) of the face that fills each of m pictures of one shot, as of `angles_over_time`."""
    return angles_over_time(measured_heads(pictures, finder))


def measured_heads(pictures: Iterable[Picture], finder: FaceFinder) -> NDArray[np.float64]:
    """Eyes, mouth and head's axes of the face that fills each of m pictures, (m, 12); NaN where no mesh fits."""
    faces = (finder.filling(picture) for picture in pictures)
    rows = [np.append(face.points, face.axes) if face else np.full(12, np.nan) for face in faces]
    return np.stack(rows)


def angles_over_time(heads: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Angles (m, 3) of `measured_heads` of one shot, steady in time.

    Pictures on which no mesh fits hold their neighbour's; None where it fits on none.
    """
    seen = np.flatnonzero(~np.isnan(heads[:, 0]))
    if not len(seen):
        return None
    points, axes = heads[seen, :6].reshape(-1, 3, 2), heads[seen, 6:].reshape(-1, 2, 3)
    nearest = np.abs(np.arange(len(heads))[:, None] - seen).argmin(axis=1)
    return angles_of(steadied(axes, points))[nearest]
