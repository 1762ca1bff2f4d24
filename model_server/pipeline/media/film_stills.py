"""Still pictures of film and rendering, read by OpenImageIO and shown as Blender's sequencer shows them.

EXR, HDR and DPX hold scene-linear light there, which the transfer function of sRGB encodes (IEC 61966-2-1); all other
formats are encoded already. Light above 1 is white.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from OpenImageIO import ImageInput

FORMATS = ("openexr", "hdr", "dpx", "tiff", "targa", "sgi", "psd", "dds")
_LINEAR = ("openexr", "hdr", "dpx")
# Their colours are multiplied by alpha unless they say that they are not.
_ASSOCIATED = ("openexr", "tiff")
# Blender's name of the pass that is the picture; a file of several layers may have others before it.
_PICTURE_PASS = "Combined"
_ORIENTATION = 0x0112
_LARGEST_HALF = 65504
_LARGEST_MEGABYTES = 2048


class FilmStillError(Exception):
    """A picture that OpenImageIO cannot read."""


def read_film_still(path: Path, kind: str, max_pixels: int) -> Image.Image:
    """Read the picture, 8 bits a channel, RGB or RGBA with straight alpha; EXIF data and ICC profile go with it.

    Args:
        kind: one of `FORMATS`; the file is read as nothing else.

    Raises:
        FilmStillError: damaged, or of a kind that OpenImageIO does not read.
        Image.DecompressionBombError: more pixels, nothing is decoded.
    """
    import OpenImageIO  # only here: most dubs do without

    OpenImageIO.attribute("limits:imagesize_MB", _LARGEST_MEGABYTES)
    hint = OpenImageIO.ImageSpec()
    hint.attribute("oiio:UnassociatedAlpha", 1)
    file = OpenImageIO.ImageInput.open(str(path), hint)
    if not file or file.format_name() != kind:
        raise FilmStillError(OpenImageIO.geterror())
    try:
        return _picture(file, kind, max_pixels)
    finally:
        file.close()


def _picture(file: ImageInput, kind: str, max_pixels: int) -> Image.Image:
    part, channels = _chosen(file)
    spec = file.spec(part)
    if spec.width * spec.height > max_pixels:
        raise Image.DecompressionBombError
    if spec.deep or spec.depth > 1:
        raise FilmStillError("deep or of several layers of depth")
    first, end = min(channels), max(channels) + 1
    pixels = file.read_image(part, 0, first, end, "half" if kind in _LINEAR else "uint8")
    if pixels is None:
        raise FilmStillError(file.geterror())
    pixels = np.take(pixels, [channel - first for channel in channels], axis=2)
    associated = kind in _ASSOCIATED and not spec.get_int_attribute("oiio:UnassociatedAlpha")
    picture = Image.fromarray(_eight_bit(pixels, associated))
    picture.getexif()[_ORIENTATION] = spec.get_int_attribute("Orientation", 1)
    profile = spec.getattribute("ICCProfile")
    if profile is not None:
        picture.info["icc_profile"] = np.asarray(profile, np.uint8).tobytes()
    return picture


def _chosen(file: ImageInput) -> tuple[int, list[int]]:
    """Number of the part of the file that is the picture, and of its channels: R, G and B, with A if there is one."""
    parts = range(max(1, file.spec().get_int_attribute("oiio:subimages")))
    found = [(rank, part, channels) for part in parts for rank, channels in _layers(file.spec(part).channelnames)]
    if not found:
        raise FilmStillError("no colours")
    _, part, channels = min(found)
    return part, channels


def _layers(names: tuple[str, ...]) -> list[tuple[int, list[int]]]:
    """Each layer that can be shown: how likely it is the picture, lowest first, and its channels."""
    layers: dict[str, dict[str, int]] = {}
    for index, name in enumerate(names):
        layer, _, channel = name.rpartition(".")
        layers.setdefault(layer, {})[channel.upper()] = index
    shown = [(layer, _colours(channels)) for layer, channels in layers.items()]
    return [(_rank(layer, len(colours)), colours) for layer, colours in shown if colours]


def _colours(channels: dict[str, int]) -> list[int]:
    alpha = [channels["A"]] if "A" in channels else []
    if all(colour in channels for colour in "RGB"):
        return [channels[colour] for colour in "RGB"] + alpha
    grey = next((channels[name] for name in ("Y", "L", "V", "") if name in channels), None)
    return [] if grey is None else [grey] * 3 + alpha


def _rank(layer: str, colours: int) -> int:
    if layer == "":
        return 0
    return 1 if layer.rpartition(".")[2] == _PICTURE_PASS else 2


def _eight_bit(pixels: NDArray[Any], associated: bool) -> NDArray[np.uint8]:
    """Pixels as read, 8 bits or scene-linear half floats, (height, width, 3 or 4), encoded and with straight alpha."""
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if not alpha.any():  # left empty by the program that wrote it
        alpha = alpha[..., :0]
    if associated and alpha.size:
        colours = _divided(colours, alpha)
    if pixels.dtype == np.float16:
        colours = _encoding()[colours.view(np.uint16)]
        alpha = np.rint(np.clip(np.nan_to_num(alpha), 0, 1) * np.float32(255)).astype(np.uint8)
    return np.concatenate([colours, alpha], axis=2)


def _divided(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colours of any type that were multiplied by alpha, as they were before."""
    whole = np.float32(1 if alpha.dtype == np.float16 else 255)
    most = _LARGEST_HALF if alpha.dtype == np.float16 else 255
    straight = colours * (whole / np.maximum(alpha, np.float32(1e-4)))
    return np.where(alpha > 0, np.clip(straight, 0, most), 0).astype(colours.dtype)


@cache
def _encoding() -> NDArray[np.uint8]:
    """For each of all half floats, by its bits, the value of 8 bits that shows it; what is no number is black."""
    with np.errstate(invalid="ignore"):
        light = np.clip(np.nan_to_num(np.arange(1 << 16).astype(np.uint16).view(np.float16).astype(np.float64)), 0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)
