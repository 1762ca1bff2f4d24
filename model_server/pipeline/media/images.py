"""Still pictures as plain 8-bit RGB arrays, upright and without transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from model_server.pipeline.media.profiles import to_srgb
from model_server.pipeline.media.stills import open_image, orientation, still_format, upright

# Neutral grey behind transparency: it draws no edge that a face could be confused with.
_BACKDROP = (128, 128, 128, 255)
# Formats in which the orientation is no remark but belongs to the picture.
_UPRIGHT = ("AVIF", "HEIF")
_ANIMATED = ("PNG", "WEBP")


def load_image(path: Path, turned: bool = True, managed: bool = True) -> NDArray[np.uint8]:
    """Read a still picture (an animation's first frame) as uint8 RGB of shape (height, width, 3).

    It is upright and whole, also where the file holds tiles; 16-bit grey is scaled to 8 bits, scene-linear light is
    encoded as `film_stills` says, transparency is laid over neutral grey.

    Args:
        turned: whether the picture is turned upright as its EXIF orientation says; photos in tiles always are.
        managed: whether colours are converted to sRGB as the ICC profile says.

    Raises:
        PoseDubError: missing, not a picture, damaged, or above 64 megapixels.
    """
    with open_image(path) as image:
        plain = _eight_bit(image)
        shown = upright(plain) if turned or image.format in _UPRIGHT else plain
        profile = image.info.get("icc_profile") if managed else None
        return np.array(_opaque(to_srgb(shown, profile)))


def is_turned(path: Path) -> bool:
    """Whether a picture's EXIF orientation says that it is to be turned or mirrored."""
    with open_image(path) as image:
        return orientation(image) != 1 and image.format not in _UPRIGHT


def is_transparent(path: Path) -> bool:
    """Whether a still picture can be seen through anywhere."""
    with open_image(path) as image:
        if not image.has_transparency_data:
            return False
        return bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())


def is_animated(path: Path) -> bool:
    """Whether a still picture's file shows several pictures one after the other: animated PNG and WebP do."""
    if still_format(path) not in _ANIMATED:
        return False
    with open_image(path) as image:
        return bool(getattr(image, "is_animated", False))


def _eight_bit(image: Image.Image) -> Image.Image:
    # Pillow's own conversion of 16-bit grey cuts values off at 255 instead of scaling them.
    if not image.mode.startswith("I"):
        return image
    grey = np.clip(np.asarray(image), 0, 65535) // 257
    scaled = Image.fromarray(grey.astype(np.uint8))
    scaled.getexif()[ExifTags.Base.Orientation] = orientation(image)
    return scaled


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    backdrop = Image.new("RGBA", image.size, _BACKDROP)
    return Image.alpha_composite(backdrop, image.convert("RGBA")).convert("RGB")
