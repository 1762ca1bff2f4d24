"""Landmarks and head angles of aligned crops, as a face mesh sees them: estimates, for labels and measures.

The 68 points are the mesh's vertices nearest to their places in the iBUG scheme; along the jaw the mesh follows the
face's outline in three dimensions, where the scheme follows the visible one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.head_angles import angles_of, head_axes
from model_server.pipeline.faces.models import models

# Mesh vertices of the 68 points: jaw, brows, nose, eyes, outer and inner lips.
MESH_68 = (
    *(127, 234, 93, 132, 172, 150, 149, 148, 152, 377, 378, 379, 397, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 240, 97, 2, 326, 460),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 81, 13, 311, 308, 402, 14, 178),
)  # fmt: skip
# Those along the face's outline.
MESH_OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
# A crop is expected to show a face, so it need not be that sure.
_LEAST_SCORE = 0.3


@dataclass(frozen=True)
class MeshFace:
    """A face in a crop.

    Attributes:
        landmarks: (68, 2) pixels.
        angles: (3,) estimated yaw, pitch and roll in degrees, signs as in `shards.Clip`.
    """

    landmarks: NDArray[np.float32]
    angles: NDArray[np.float32]


class MeshReader:
    """Reads the face of a crop, each by itself."""

    def read(self, crop: NDArray[np.uint8]) -> MeshFace | None:
        """The face of an RGB picture that one face fills (h, w, 3), None when the mesh finds none."""
        with models() as ready:
            found = ready.meshes(crop, _LEAST_SCORE, faces=1)
        if not found:
            return None
        points = found[0].points
        return MeshFace(points[list(MESH_68), :2].astype(np.float32), angles_of(head_axes(points)))
