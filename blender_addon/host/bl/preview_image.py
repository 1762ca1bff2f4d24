"""The previewed frame as a picture: an image data-block, and an icon for the panel."""

from __future__ import annotations

import uuid
from pathlib import Path

import bpy
import bpy.utils.previews

NAME = "PoseDub Preview"
_icons: bpy.utils.previews.ImagePreviewCollection | None = None


def show(png: bytes, folder: Path) -> None:
    """Make a PNG file's bytes the preview."""
    global _icons
    file = folder / f"preview-{uuid.uuid4().hex}.png"
    file.write_bytes(png)
    image = bpy.data.images.get(NAME)
    if image is None:
        image = bpy.data.images.load(str(file))
        image.name = NAME
    else:
        Path(bpy.path.abspath(image.filepath)).unlink(missing_ok=True)
        image.filepath = str(file)
        image.reload()
    forget()
    _icons = bpy.utils.previews.new()
    _icons.load(NAME, str(file), "IMAGE")


def icon() -> int:
    """Icon of the preview, 0 when there is none."""
    return _icons[NAME].icon_id if _icons is not None and NAME in _icons else 0


def forget() -> None:
    """Free the icon."""
    global _icons
    if _icons is not None:
        bpy.utils.previews.remove(_icons)
        _icons = None
