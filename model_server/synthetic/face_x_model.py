"""Makes the head model's archive of ICT-FaceKit's folder `FaceXModel`: one Wavefront OBJ for each shape.

The folder lies in the repository USC-ICT/ICT-FaceKit (MIT). Neutral shape, identities and expressions share topology.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_server.errors import ErrorKind, PoseDubError

_NEUTRAL = "generic_neutral_mesh"
_IDENTITY = "identity"
_NO_CORNER = -1  # the fourth of a triangle


def head_archive(folder: Path) -> dict[str, NDArray]:
    """The arrays of `ict.npz`, see `head`.

    Raises:
        PoseDubError: the folder lacks the neutral shape or shapes to add to it, or a file cannot be read.
    """
    neutral = _mesh(folder / f"{_NEUTRAL}.obj")
    others = sorted(path for path in folder.glob("*.obj") if path.stem != _NEUTRAL)
    identities, expressions = (
        [path for path in others if path.stem.startswith(_IDENTITY) is kind] for kind in (True, False)
    )
    if not identities or not expressions:
        raise PoseDubError(
            f"The folder {folder} has no identities or no expressions; give FaceXModel of a whole copy of ICT-FaceKit.",
            ErrorKind.NOT_FOUND,
        )
    return neutral | {
        "ids": _offsets(identities, neutral["n"]),
        "ex": _offsets(expressions, neutral["n"]),
        "names": np.array([path.stem for path in expressions]),
    }


def _offsets(paths: list[Path], neutral: NDArray[np.float32]) -> NDArray[np.float16]:
    """From the neutral shape, (n, V, 3); half precision is finer than the shapes are."""
    return np.stack([(_vertices(path, len(neutral)) - neutral).astype(np.float16) for path in paths])


def _vertices(path: Path, count: int) -> NDArray[np.float32]:
    found = _numbers(words[1:4] for words in _lines(path) if words[0] == "v")
    if found.shape != (count, 3):
        raise PoseDubError(
            f"{path} has another number of vertices than the neutral shape; leave only ICT-FaceKit's own files there.",
            ErrorKind.CORRUPT,
        )
    return found


def _mesh(path: Path) -> dict[str, NDArray]:
    """Vertices, texture coordinates, faces by both, and materials of faces, under the archive's names."""
    lines, material = list(_lines(path)), ""
    faces, uv_faces, materials = [], [], []
    for words in lines:
        if words[0] == "usemtl":
            material = words[1]
        elif words[0] == "f":
            corners = [corner.split("/") for corner in words[1:5]]
            faces.append(_corners(corner[0] for corner in corners))
            uv_faces.append(_corners(corner[1] for corner in corners))
            materials.append(material)
    return {
        "n": _numbers(words[1:4] for words in lines if words[0] == "v"),
        "VT": _numbers(words[1:3] for words in lines if words[0] == "vt"),
        "F": np.array(faces, np.int32),
        "FT": np.array(uv_faces, np.int32),
        "M": np.array(materials),
    }


def _corners(numbers: Iterator[str]) -> list[int]:
    """From 0 on; OBJ counts from 1."""
    found = [int(number) - 1 for number in numbers]
    return [*found, _NO_CORNER] if len(found) == 3 else found


def _numbers(rows: Iterator[list[str]]) -> NDArray[np.float32]:
    return np.array(list(rows), np.float32)


def _lines(path: Path) -> Iterator[list[str]]:
    """Words of each line that has any."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from (words for line in file if (words := line.split()))
    except (OSError, ValueError) as error:
        raise PoseDubError(
            f"The shape {path} cannot be read ({error}); give the folder FaceXModel of a copy of ICT-FaceKit.",
            ErrorKind.NOT_FOUND,
        ) from error
