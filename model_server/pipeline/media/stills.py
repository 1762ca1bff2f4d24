"""Safe opening of untrusted still pictures: told by their content, never by extension, and measured undecoded.

Each file is given to the one reader of its format: Pillow, OpenImageIO for those of film and rendering, or FFmpeg.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ExifTags, Image, PngImagePlugin

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media import film_stills
from model_server.pipeline.media.checks import check_file
from model_server.pipeline.media.heif import read_heif
from model_server.pipeline.media.jpeg import ended
from model_server.pipeline.media.jpeg2000 import read_jpeg2000

MAX_IMAGE_PIXELS = 64_000_000

# How a file of each format begins. The formats have the names that their readers give them.
_SIGNATURES = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "WEBP": rb"RIFF....WEBP",
    "BMP": rb"BM....\0\0\0\0",
    "JPEG2000": rb"\0\0\0\x0cjP  \r\n\x87\n....ftypjp[2xh]|\xff\x4f\xff\x51",
    "AVIF": rb"....ftypavif",
    "HEIF": rb"....ftyp(hei[cxms]|mif1)",
    "tiff": rb"II[*+]\0|MM\0[*+]",
    "openexr": rb"v/1\x01",
    "hdr": rb"#\?R(ADIANCE|GBE)",
    "dpx": rb"SDPX|XPDS",
    "psd": rb"8BPS\0[\1\2]",
    "dds": rb"DDS \x7c\0\0\0",
    "sgi": rb"\x01\xda[\0\1][\1\2]",
}
_BEGINNING = 32
_TARGA = struct.Struct("<3B2HB4H2B")
_RUN_LENGTHS = 8
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, RuntimeError, struct.error)

# How a picture is turned that is to be shown in one of the orientations of EXIF.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns long before its error; the limit here is lower than its error and is stated in our own sentence.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Nothing that a picture says of itself makes it unreadable: neither broken EXIF data nor long texts.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL.TiffImagePlugin")
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


def is_image(path: Path) -> bool:
    """True when the content is a still picture of a known format, readable or not."""
    return still_format(path) is not None


def still_format(path: Path) -> str | None:
    """Format of a still picture by its content, None for other files."""
    with Path(path).open("rb") as file:
        beginning = file.read(_BEGINNING)
    for name, signature in _SIGNATURES.items():
        if re.match(signature, beginning, re.DOTALL):
            return name
    return "targa" if _is_targa(beginning, Path(path).stat().st_size) else None


def _is_targa(header: bytes, size: int) -> bool:
    """Whether all fields of a Targa header make sense together; the format has no signature (Truevision, 1991)."""
    if len(header) < _TARGA.size:
        return False
    name, mapped, kind, _, colours, depth_of_colour, _, _, width, height, depth, flags = _TARGA.unpack_from(header)
    depths = {1: (8, 16), 2: (15, 16, 24, 32), 3: (8, 16)}.get(kind & ~_RUN_LENGTHS, ())
    map_fits = depth_of_colour in (15, 16, 24, 32) and colours > 0 if mapped else not (colours or depth_of_colour)
    if depth not in depths or not map_fits or mapped != (kind in (1, 9)) or flags & 0xC0 or not width * height:
        return False
    before = _TARGA.size + name + colours * -(-depth_of_colour // 8)
    pixels = width * height * -(-depth // 8)
    return size >= before + (pixels // 128 if kind & _RUN_LENGTHS else pixels)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open a still picture; more than `MAX_IMAGE_PIXELS` are refused before decoding, damage becomes a PoseDubError."""
    path = Path(path)
    check_file(path)
    name = still_format(path)
    if name is None:
        raise PoseDubError(f"The file {path.name} is not a picture that can be read; save it as PNG or JPEG.")
    try:
        with _opened(path, name) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError
            yield ended(image, path) if name == "JPEG" else image
    except Image.DecompressionBombError as error:
        raise PoseDubError(
            f"The picture {path.name} has more than 64 megapixels; scale it down.", ErrorKind.TOO_LARGE
        ) from error
    except film_stills.FilmStillError as error:
        sentence = f"The picture {path.name} is damaged or of an unusual kind; export it again, or as PNG."
        raise PoseDubError(sentence, ErrorKind.CORRUPT) from error
    except _BROKEN as error:
        raise PoseDubError(
            f"The picture {path.name} is damaged; export or copy it again.", ErrorKind.CORRUPT
        ) from error


def _opened(path: Path, name: str) -> Image.Image:
    if name in ("AVIF", "HEIF"):
        return read_heif(path, MAX_IMAGE_PIXELS)
    if name == "JPEG2000":
        return read_jpeg2000(path, MAX_IMAGE_PIXELS)
    if name in film_stills.FORMATS:
        return film_stills.read_film_still(path, name, MAX_IMAGE_PIXELS)
    return Image.open(path, formats=(name,))


def orientation(image: Image.Image) -> int:
    """EXIF orientation in which a picture is to be shown, 1 to 8; 1 where it says none that can be understood."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except (*_BROKEN, TypeError, OverflowError):
        return 1
    return value if value in _TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """The picture as it is to be shown."""
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)
