"""The parametric head: ICT-FaceKit's neutral shape, 100 identity modes and 57 expressions.

ICT-FaceKit is MIT licensed, (c) 2020 USC Institute for Creative Technologies. Its data are read from `ict.npz`
(keys `n`, `ids`, `ex`, `names`, `VT`, `F`, `FT`, `M`), given by path and never part of this package. Lengths are cm;
x points to the viewer's right, y up, z out of the face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from numba import njit

from model_server.errors import ErrorKind, PoseDubError

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]

# Lashes and wet layers are opaque sheets, and the irises lie behind an opaque sclera on which they are painted.
DROPPED_PARTS = ("EyeLashes", "EyeOcclusion", "LacrimalFluid", "EyeBlend", "IrisLeft", "IrisRight")

# The 68 points of the iBUG scheme as vertices of ICT-FaceKit.
LANDMARK_VERTICES = np.array(
    [1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443]
    + [268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509]
    + [978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360]
    + [1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732]
    + [5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841]
    + [5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966],
    dtype=np.int32,
)


@dataclass(frozen=True, eq=False)
class HeadModel:
    """A linear head: vertices = neutral + identity weights · identities + expression weights · expressions.

    Attributes:
        neutral: (V, 3) vertices, cm.
        identities: (100, V, 3) offsets per unit weight, whose population is N(0, 1).
        expressions: (E, V, 3) offsets at weight 1.
        expression_names: ARKit-like names of the E expressions.
        triangles: (T, 3) vertex indices, counter-clockwise seen from outside.
        corner_uv: (T, 3, 2) texture coordinates of each corner, within the tile of its part, 0..1.
        parts: (T,) name of each triangle's part, such as `Face`, `BackHead`, `Teeth`, `ScleraLeft`.
        landmarks: (68,) vertices of the iBUG points.
    """

    neutral: Floats
    identities: Floats
    expressions: Floats
    expression_names: tuple[str, ...]
    triangles: Ints
    corner_uv: Floats
    parts: npt.NDArray[np.str_]
    landmarks: Ints

    def shape(self, identity: Floats) -> Floats:
        """Vertices (V, 3) of the neutral face of an identity with K <= 100 mode weights."""
        return self.neutral + np.tensordot(identity, self.identities[: len(identity)], 1).astype(np.float32)

    def offsets(self, weights: Mapping[str, float]) -> Floats:
        """Expression offsets (V, 3) for blendshape weights 0..1; names the head lacks are skipped."""
        named = enumerate(self.expression_names)
        used = [(index, weight) for index, name in named if (weight := weights.get(name, 0.0))]
        rows, values = (np.array(column) for column in zip(*used, strict=True)) if used else np.zeros((2, 0))
        flat = self.expressions.reshape(len(self.expressions), -1)
        return _weighted_sum(flat, rows.astype(np.int32), values.astype(np.float32)).reshape(self.neutral.shape)

    def part_vertices(self, *names: str) -> Ints:
        """Sorted vertices used by the named parts."""
        return np.unique(self.triangles[np.isin(self.parts, names)])


def load_head(path: Path) -> HeadModel:
    """Reads `ict.npz`, keeping only the parts that are rendered.

    Raises:
        PoseDubError: the file is missing or is not an ICT-FaceKit archive.
    """
    try:
        with np.load(path) as archive:
            return _head_from_archive(dict(archive))
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise PoseDubError(
            f"The head model {path} cannot be read ({error}): give the path of ICT-FaceKit's ict.npz.",
            ErrorKind.NOT_FOUND,
        ) from error


def random_identity(rng: np.random.Generator, modes: int = 60, spread: float = 0.75) -> Floats:
    """Mode weights (modes,) of a random person; a spread under 1 keeps faces away from caricature."""
    return np.clip(rng.normal(0.0, spread, modes), -2.0, 2.0).astype(np.float32)


@njit(cache=True, nogil=True)
def _weighted_sum(table: Floats, rows: Ints, weights: Floats) -> Floats:
    """Sum of rows of a table (R, N) under their weights."""
    total = np.zeros(table.shape[1], np.float32)
    for row, weight in zip(rows, weights):  # noqa: B905 - numba's zip knows no strictness
        for i in range(total.shape[0]):
            total[i] += weight * table[row, i]
    return total


def _head_from_archive(data: dict[str, npt.NDArray]) -> HeadModel:
    names = np.array([name.removeprefix("M_") for name in data["M"]])
    kept = ~np.isin(names, DROPPED_PARTS)
    triangles, source = _triangulate(data["F"][kept])
    uv_indices, _ = _triangulate(data["FT"][kept])
    vertices, compact = np.unique(triangles, return_inverse=True)
    return HeadModel(
        neutral=_narrow_bust(data["n"][vertices].astype(np.float32)),
        identities=data["ids"][:, vertices].astype(np.float32),
        expressions=np.ascontiguousarray(data["ex"][:, vertices], np.float32),
        expression_names=tuple(str(name) for name in data["names"]),
        triangles=compact.reshape(-1, 3).astype(np.int32),
        corner_uv=(data["VT"][uv_indices] % 1.0).astype(np.float32),
        parts=names[kept][source],
        landmarks=np.searchsorted(vertices, LANDMARK_VERTICES).astype(np.int32),
    )


def _narrow_bust(points: Floats) -> Floats:
    """The bare shoulders drawn in to a neck, so that they fit into clothes."""
    # From 9.5 cm below the origin to 11.5 cm, the radius shrinks to 6.4 cm around the neck's axis (x, z).
    axis = np.array([0.0, -1.6], np.float32)
    across = points[:, [0, 2]] - axis
    radius = np.linalg.norm(across, axis=1)
    below = np.clip((-9.5 - points[:, 1]) / 2.0, 0.0, 1.0)
    scale = 1.0 + below * (np.minimum(1.0, 6.4 / (radius + 1e-6)) - 1.0)
    narrow = points.copy()
    narrow[:, [0, 2]] = axis + across * scale[:, None]
    return narrow


def _triangulate(quads: npt.NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Splits quads (fourth index -1 marks a triangle); also returns each triangle's source face."""
    first, second = quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]
    real = quads[:, 3] >= 0
    order = np.arange(len(quads), dtype=np.int32)
    return np.concatenate([first, second[real]]), np.concatenate([order, order[real]])
