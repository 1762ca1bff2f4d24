"""How head angles and pose codes correspond, as the server tells for its weights.

Angles are yaw (+ to the viewer's right), pitch (+ up) and roll (+ clockwise as
seen), in degrees. Codes are the 12 numbers of PC-AVS; zero is a frontal head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .errors import AddonError

Row = tuple[float, ...]
Matrix = tuple[Row, ...]

ANGLES = 3


@dataclass(frozen=True)
class PoseMap:
    """Two affine maps, each fitted on its own because codes have more dimensions than angles.

    Attributes:
        to_code: 3 rows of 12: change of the code per degree.
        frontal: 12 values: code of the angles zero.
        to_angles: 12 rows of 3: change of the angles per unit of the code.
        zero: 3 values: angles of the code zero.
        residual: 3 values: root mean square error of the angles of codes, degrees; () when it was not measured.
    """

    to_code: Matrix
    frontal: Row
    to_angles: Matrix
    zero: Row
    residual: Row = ()

    def angles(self, code: Row) -> Row:
        """Yaw, pitch and roll that a code shows."""
        return _added(self.zero, _product(code, self.to_angles))

    def turned(self, code: Row, angles: Row) -> Row:
        """The code with the head turned by so many degrees; from code zero on they are absolute angles."""
        return _added(code, _product(angles, self.to_code))

    def mirrored(self, code: Row) -> Row:
        """The code with yaw and roll negated and all else kept; mirrored again it is the code it was.

        Raises AddonError for a map whose angles do not come back.
        """
        yaw, _pitch, roll = self.angles(code)
        return _added(code, _product((-2 * yaw, 0.0, -2 * roll), self._exact))

    @cached_property
    def _exact(self) -> Matrix:
        """Like `to_code`, scaled so that `angles` finds exactly the degrees that were added."""
        there_and_back = tuple(_product(row, self.to_angles) for row in self.to_code)
        try:
            return tuple(_product(row, self.to_code) for row in _inverse(there_and_back))
        except ZeroDivisionError as error:
            raise AddonError("The weights' pose map does not tell head angles apart.", "Use other weights.") from error


def _padded_identity(rows: int, columns: int) -> Matrix:
    return tuple(tuple(float(row == column) for column in range(columns)) for row in range(rows))


def in_degrees(size: int) -> PoseMap:
    """Of an engine whose pose controls are yaw, pitch and roll: the first three of a code's `size` numbers."""
    zeros = (0.0,) * size
    return PoseMap(_padded_identity(ANGLES, size), zeros, _padded_identity(size, ANGLES), (0.0,) * ANGLES)


def _added(one: Row, other: Row) -> Row:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _product(row: Row, matrix: Matrix) -> Row:
    return tuple(_dot(row, column) for column in zip(*matrix, strict=True))


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _inverse(matrix: Matrix) -> Matrix:
    """Of a 3 x 3 matrix, by its rows' cross products; raises ZeroDivisionError when there is none."""
    a, b, c = matrix
    columns = (_cross(b, c), _cross(c, a), _cross(a, b))
    determinant = _dot(a, columns[0])
    return tuple(tuple(value / determinant for value in row) for row in zip(*columns, strict=True))


def _cross(a: Row, b: Row) -> Row:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
