"""Colours of stills as their ICC profiles mean them: telephones' Display P3, cameras' Adobe RGB, print's CMYK."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageCms

# Modes of Pillow whose colours a profile of each kind describes, and the modes they become in sRGB.
_MODES = {
    "RGB ": {"RGB": "RGB", "RGBA": "RGBA"},
    "GRAY": {"L": "RGB"},
    "CMYK": {"CMYK": "RGB"},
}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture's colours in sRGB; as they are where there is no profile, a damaged one or one of other channels."""
    if not profile:
        return image
    if image.mode == "P" or image.has_transparency_data:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    try:
        meant = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _MODES.get(meant.profile.xcolor_space, {}).get(image.mode)
        if mode is None:
            return image
        transform = ImageCms.buildTransform(meant, ImageCms.createProfile("sRGB"), image.mode, mode)
        return ImageCms.applyTransform(image, transform) or image
    except (ImageCms.PyCMSError, OSError):
        return image
