"""The portrait as the encoders see it, and as it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import MARGIN, Relief
from model_server.errors import PoseDubError
from model_server.features import CROP_SIDE
from model_server.pipeline.faces.alignment import (
    Matrix,
    clip_transforms,
    network_view,
    resized,
    resizing,
    shifted,
    view_transform,
    warp,
)
from model_server.pipeline.faces.finder import FaceFinder, choose
from model_server.pipeline.faces.relief import relief_of
from model_server.pipeline.media.sandboxed import is_transparent, picture_at
from model_server.pipeline.media.stills import is_image
from model_server.pipeline.request import Portrait, Viewer

# A VoxCeleb2-like crop is square; anything far from it would be squeezed.
_MAX_ASPECT = 1.25
# JPEG keeps black and white within 2 or 3 of 255; of any skin in colour most pixels are 20 and more apart.
_GREY_SPREAD, _GREY_PIXELS = 8, 0.999


class NoFaceError(PoseDubError):
    """A portrait that shows no face."""


@dataclass(frozen=True)
class PortraitViews:
    """Network views of a portrait, uint8 RGB.

    Attributes:
        seen: (224, 224, 3), for the encoders.
        surrounded: the same at the size of the frames, from the picture's own pixels, and what surrounds it there,
            size // MARGIN pixels on each side; where the picture ends, its border goes on.
        faces: how many were seen when the largest was taken; 1 where a face was chosen.
        transparent: whether the picture can be seen through somewhere, where grey stands now.
        relief: how far from the camera its places are; None where no face mesh fits.
    """

    seen: NDArray[np.uint8]
    surrounded: NDArray[np.uint8]
    faces: int = 1
    transparent: bool = False
    relief: Relief | None = None

    @property
    def content(self) -> tuple[bytes, ...]:
        """All that pictures of it depend on."""
        relief = self.relief
        parts = (relief.depth, relief.follows, relief.pivot, relief.angles) if relief else ()
        return tuple(part.tobytes() for part in (self.seen, self.surrounded, *parts))

    @property
    def drawn(self) -> NDArray[np.uint8]:
        """See `Views.drawn`."""
        around = len(self.surrounded) // (MARGIN + 2)
        return self.surrounded[around:-around, around:-around]

    @property
    def colourless(self) -> bool:
        """Whether the picture is black and white, as its own pixels show."""
        channels = self.drawn.astype(np.int16)
        spread = channels.max(axis=2) - channels.min(axis=2)
        return bool(np.quantile(spread, _GREY_PIXELS) <= _GREY_SPREAD)


def portrait_views(
    path: Path,
    portrait: Portrait,
    size: int,
    finder: Callable[[], FaceFinder],
    crop: Matrix | None = None,
    viewer: Viewer = "player",
) -> PortraitViews:
    """Network views of a portrait.

    Args:
        path: picture, or movie of which the frame at `portrait.time` is taken.
        portrait: which face, and whether the picture is already a crop.
        size: width and height of the frames; a picture with fewer pixels is enlarged.
        finder: makes the face finder; not called for aligned crops.
        crop: transform from picture to crop, (2, 3), where it is known; else the face is found.
        viewer: whose way of showing the file counts.

    Raises:
        NoFaceError: no face is seen.
        PoseDubError: unreadable, or a crop that is not square.
    """
    picture = picture_at(path, portrait.time, viewer)
    height, width = picture.shape[:2]
    seen_through = is_image(path) and is_transparent(path)
    if portrait.face.crop == "aligned":
        seen, whole = network_view(aligned_crop(picture, path)), view_transform(resizing(width, height), size)
        return PortraitViews(seen, _surrounded(picture, whole, size), 1, seen_through, relief_of(seen))
    faces = 1
    if crop is None:
        crop, faces = _crop_of(picture, path, portrait, finder())
    whole, seen = view_transform(crop, size), network_view(warp(picture, crop))
    return PortraitViews(seen, _surrounded(picture, whole, size), faces, seen_through, relief_of(seen))


def _surrounded(picture: NDArray[np.uint8], whole: Matrix, size: int) -> NDArray[np.uint8]:
    """What the transform `whole` (2, 3) makes of a picture, and what surrounds it; at the end its border goes on."""
    around = size // MARGIN
    return warp(picture, shifted(whole, -around, -around), size + 2 * around, cv2.BORDER_REPLICATE)


def _crop_of(picture: NDArray[np.uint8], path: Path, portrait: Portrait, finder: FaceFinder) -> tuple[Matrix, int]:
    """The transform to the crop, and among how many faces the largest was taken."""
    faces, at = finder.find(picture), portrait.face.at
    face = choose(faces, at, (picture.shape[1], picture.shape[0]))
    if face is None:
        raise NoFaceError(
            f"No face was found in {path.name}; choose another one in which the whole face is seen from the front."
        )
    return clip_transforms(face.points[None])[0], len(faces) if at is None else 1


def aligned_crop(picture: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """A picture that already is a face crop, as (224, 224, 3); refuses one that is far from square."""
    height, width = picture.shape[:2]
    if max(height, width) > _MAX_ASPECT * min(height, width):
        raise PoseDubError(
            f"{path.name} is {width}x{height} and no square face crop as 'aligned' means; set the crop to auto."
        )
    return picture if (height, width) == (CROP_SIDE, CROP_SIDE) else resized(picture)
