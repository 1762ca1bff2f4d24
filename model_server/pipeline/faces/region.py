"""The square of a picture that a face mesh looks at, turned so that the head in it is upright."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.alignment import Matrix, inverse
from model_server.pipeline.faces.detector import Box, Detection

# Of the longer side of the face's box; the mesh was trained on squares of that size.
_AROUND = 1.5


@dataclass(frozen=True)
class Region:
    """A square of a picture.

    Attributes:
        middle: x, y in pixels.
        side: pixels.
        roll: degrees that the head in it leans to the picture's left.
    """

    middle: tuple[float, float]
    side: float
    roll: float

    @staticmethod
    def around(box: Box, roll: float) -> Region:
        """The region of a face whose box and roll are known, as of the picture before."""
        left, top, right, bottom = box
        return Region(((left + right) / 2, (top + bottom) / 2), _AROUND * max(right - left, bottom - top), roll)

    @staticmethod
    def of(detection: Detection) -> Region:
        """The region of a face that a detector saw: the line between its eyes is level there."""
        across, down = (detection.points[1] - detection.points[0]).tolist()
        return Region.around(detection.box, -float(np.degrees(np.arctan2(down, across))))

    def view(self, side: int) -> Matrix:
        """The transform (2, 3) from the picture to this square, (side, side)."""
        return inverse(self.back(side))

    def back(self, side: int) -> Matrix:
        """The way back: from the square's pixels to the picture."""
        scale, roll = self.side / side, np.radians(self.roll)
        across, down = scale * np.cos(roll), scale * np.sin(roll)
        turn = np.array([[across, down], [-down, across]])
        return np.column_stack([turn, self.middle - turn @ (side / 2, side / 2)])

    def placed(self, points: NDArray[np.floating], side: int) -> NDArray[np.float64]:
        """Points (n, 3) of the square, depth third, in the picture's pixels."""
        back = self.back(side)
        flat = points[:, :2] @ back[:, :2].T + back[:, 2]
        return np.column_stack([flat, points[:, 2] * (self.side / side)])
