"""The face detectors and the face mesh, loaded on first use and for one user at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from model_server.pipeline.faces.alignment import Picture, Points, quick_warp
from model_server.pipeline.faces.detector import Detection, Detector
from model_server.pipeline.faces.network import FaceNetwork
from model_server.pipeline.faces.region import Region
from model_server.pipeline.media.partial import AnyPicture

# Detections of a lower score are not told. The detector for smaller faces is more easily deceived.
LEAST_SCORE, _LEAST_FAR_SCORE = 0.5, 0.6
# A mesh that is less sure to lie on a face is none.
LEAST_PRESENCE = 0.5
# The mesh takes what a detector is less sure of; it sees for itself whether that is a face.
_MESH_LEAST_SCORE, _MESH_FACES = 0.4, 3


@dataclass(frozen=True)
class Mesh:
    """A face's surface.

    Attributes:
        points: the vertices, (468, 3): pixels of the picture, and depth in the same unit, growing away from the camera.
        presence: how sure it is that there is a face, in [0, 1].
        score: how sure a detector was of the face, 0 where none was asked.
    """

    points: Points
    presence: float
    score: float = 0.0


class Models:
    """Models of one user at a time; they remember nothing from one picture to the next."""

    def near(self, rgb: Picture, least_score: float = LEAST_SCORE) -> list[Detection]:
        """Faces that fill a good part of a uint8 RGB picture (height, width, 3), the surest first."""
        return self._near(rgb, least_score)

    def far(self, rgb: Picture) -> list[Detection]:
        """Faces that are smaller."""
        return self._far(rgb, _LEAST_FAR_SCORE)

    def mesh(self, rgb: AnyPicture, region: Region, border: int = cv2.BORDER_CONSTANT) -> Mesh:
        """What the mesh makes of a region of the picture, a face or not.

        Outside the picture lies black, or what another of OpenCV's borders says.
        """
        network = self._mesh
        side = network.side
        values, flag = network(quick_warp(rgb, region.view(side), side, border))
        points = region.placed(values.reshape(-1, 3).astype(np.float64), side)
        return Mesh(points, 1 / (1 + float(np.exp(-flag[0]))))

    def meshes(self, rgb: Picture, least_score: float = _MESH_LEAST_SCORE, faces: int = _MESH_FACES) -> list[Mesh]:
        """Meshes of some faces that fill a good part of the picture, the surest first."""
        seen = self.near(rgb, least_score)[:faces]
        found = [replace(self.mesh(rgb, Region.of(one), cv2.BORDER_REPLICATE), score=one.score) for one in seen]
        return [mesh for mesh in found if mesh.presence > LEAST_PRESENCE]

    @cached_property
    def _near(self) -> Detector:
        return Detector("face_detection_short_range", [(8, 2), (16, 6)])

    @cached_property
    def _far(self) -> Detector:
        return Detector("face_detection_full_range_sparse", [(4, 1)])

    @cached_property
    def _mesh(self) -> FaceNetwork:
        return FaceNetwork("face_landmark", low=0)


# Loading takes some milliseconds, so models that are done with wait for their next user.
_IDLE: deque[Models] = deque(maxlen=2)


@contextmanager
def models() -> Iterator[Models]:
    """Models that nobody else uses meanwhile."""
    try:
        models = _IDLE.pop()
    except IndexError:
        models = Models()
    yield models
    _IDLE.append(models)
