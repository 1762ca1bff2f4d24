"""How head angles and pose codes correspond, for weights that were fitted to known angles."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ANGLES = 3


@dataclass(frozen=True)
class PoseMap:
    """Two affine maps, each fitted on its own because codes may have more dimensions than angles.

    A code has p values, one for each pose control of the engine. Angles are yaw (+ to the viewer's right), pitch (+ up)
    and roll (+ clockwise as seen), degrees.

    Attributes:
        to_code: 3 rows of p: change of the code per degree.
        frontal: p values: code of the angles zero.
        to_angles: p rows of 3: change of the angles per unit of the code.
        zero: 3 values: angles of the code zero.
        residual: 3 values: root mean square error of the way back, degrees; None where it was not measured.
    """

    to_code: tuple[tuple[float, ...], ...]
    frontal: tuple[float, ...]
    to_angles: tuple[tuple[float, ...], ...]
    zero: tuple[float, ...]
    residual: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        size = np.size(self.frontal)
        shapes = {
            "to_code": (ANGLES, size),
            "frontal": (size,),
            "to_angles": (size, ANGLES),
            "zero": (ANGLES,),
        } | ({} if self.residual is None else {"residual": (ANGLES,)})
        for name, shape in shapes.items():
            values = np.array(getattr(self, name), np.float64)
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(f"{name} must be {shape} finite numbers")
            object.__setattr__(self, name, _tuples(values.tolist()))

    def codes(self, angles: NDArray[np.floating]) -> NDArray[np.float32]:
        """Pose codes (n, p) of angles (n, 3)."""
        return np.asarray(angles @ np.array(self.to_code) + self.frontal, np.float32)

    def angles(self, codes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Angles (n, 3) of pose codes (n, p)."""
        return np.asarray(codes @ np.array(self.to_angles) + self.zero, np.float32)

    def nearest_angles(self, codes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Angles (n, 3) whose codes come nearest to pose codes (n, p); of `codes` the very inverse.

        `angles`, which was fitted, makes much of directions that codes hardly use.
        """
        back = np.linalg.pinv(np.array(self.to_code))
        # No matrix product: a row's last bits shall not depend on how many there are.
        return np.asarray(((codes - np.array(self.frontal))[:, :, None] * back).sum(axis=1), np.float32)

    def to_json(self) -> str:
        """Text for a weights file's metadata."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> PoseMap:
        """Inverse of `to_json`; ValueError for anything else."""
        try:
            return PoseMap(**json.loads(text))
        except TypeError as problem:
            raise ValueError(str(problem)) from problem


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
