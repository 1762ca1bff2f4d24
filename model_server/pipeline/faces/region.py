"""The square of a picture that a face mesh looks at, turned so that the head in it is upright."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.alignment import Matrix, Points, inverse
from model_server.pipeline.faces.detector import Detection

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
    def around(points: Points, roll: float) -> Region:
        """The region of a face of which some points (n, 2) and the roll are known, as of the picture before."""
        turn = _turn(roll)
        upright = points @ turn
        low, high = upright.min(axis=0), upright.max(axis=0)
        x, y = (turn @ ((low + high) / 2)).tolist()
        return Region((x, y), _AROUND * float((high - low).max()), roll)

    @staticmethod
    def of(detection: Detection) -> Region:
        """The region of a face that a detector saw: the line between its eyes is level there."""
        left, top, right, bottom = detection.box
        across, down = (detection.points[1] - detection.points[0]).tolist()
        roll = -float(np.degrees(np.arctan2(down, across)))
        return Region(((left + right) / 2, (top + bottom) / 2), _AROUND * max(right - left, bottom - top), roll)

    def view(self, side: int) -> Matrix:
        """The transform (2, 3) from the picture to this square, (side, side)."""
        return inverse(self.back(side))

    def back(self, side: int) -> Matrix:
        """The way back: from the square's pixels to the picture."""
        turn = self.side / side * _turn(self.roll)
        return np.column_stack([turn, self.middle - turn @ (side / 2, side / 2)])

    def placed(self, points: NDArray[np.floating], side: int) -> NDArray[np.float64]:
        """Points (n, 3) of the square, depth third, in the picture's pixels."""
        back = self.back(side)
        flat = points[:, :2] @ back[:, :2].T + back[:, 2]
        return np.column_stack([flat, points[:, 2] * (self.side / side)])


def _turn(roll: float) -> NDArray[np.float64]:
    """The rotation (2, 2) from an upright head to one that leans to the picture's left."""
    across, down = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    return np.array([[across, down], [-down, across]])
