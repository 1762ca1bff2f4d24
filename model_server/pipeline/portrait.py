"""The portrait as the identity encoder sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_server.errors import PoseDubError
from model_server.pipeline.alignment import clip_transforms, network_view, resized, warp
from model_server.pipeline.faces import FaceFinder, choose
from model_server.pipeline.request import Portrait
from model_server.pipeline.video import picture_at

# A VoxCeleb2-like crop is square; anything far from it would be squeezed.
_MAX_ASPECT = 1.25


def portrait_crop(path: Path, portrait: Portrait, finder: Callable[[], FaceFinder]) -> NDArray[np.uint8]:
    """Network view of a portrait, uint8 RGB (224, 224, 3).

    Args:
        path: picture, or movie of which the frame at `portrait.time` is taken.
        portrait: which face, and whether the picture is already a crop.
        finder: makes the face finder; not called for aligned crops.

    Raises:
        PoseDubError: unreadable, no face, or a crop that is not square.
    """
    picture = picture_at(path, portrait.time)
    if portrait.face.crop == "aligned":
        return network_view(aligned_crop(picture, path))
    height, width = picture.shape[:2]
    face = choose(finder().find(picture), portrait.face.at, (width, height))
    if face is None:
        raise PoseDubError(
            f"No face was found in {path.name}; choose a picture in which the whole face is seen from the front."
        )
    return network_view(warp(picture, clip_transforms(face.points[None])[0]))


def aligned_crop(picture: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """A picture that already is a face crop, as (224, 224, 3); refuses one that is far from square."""
    height, width = picture.shape[:2]
    if max(height, width) > _MAX_ASPECT * min(height, width):
        raise PoseDubError(
            f"{path.name} is {width}x{height} and no square face crop as 'aligned' means; set the crop to auto."
        )
    return picture if (height, width) == (224, 224) else resized(picture)
