"""JPEGs that lack nothing but their end marker, as interrupted writers leave them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops

_END = b"\xff\xd9"
_FILLING = bytes(range(1, 128))


def ended(image: Image.Image, path: Path) -> Image.Image:
    """An opened JPEG, decoded and with the end marker that it lacks.

    Pillow would read it only where it may read half a picture, too. Where all of the picture is there, nothing that
    follows can change it.

    Raises:
        OSError: more is missing.
    """
    content = Path(path).read_bytes()
    if content.endswith(_END):
        return image
    try:
        image.load()
        return image
    except OSError:
        plain, filled = (
            Image.open(BytesIO(content + filling + _END), formats=("JPEG",)) for filling in (b"", _FILLING)
        )
        if ImageChops.difference(plain, filled).getbbox():
            raise
        return plain
