"""Frames to files: lossless PNG and small JPEG."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from model_server.errors import PoseDubError

# Of isal's levels 1 and 2 one file in some thousands depends on what the process wrote before; this one's do not
# (`tests/pipeline/test_png_files.py`). Files are as large as zlib's at its fastest level, in a fifth of the time.
PNG_LEVEL = 3
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {3: 2, 4: 6}
_FILTER_UP = 2
# A window of 32 KiB (RFC 1950), and an empty last block.
_ZLIB_HEADER, _DEFLATE_END = b"\x78\x01", b"\x03\x00"
JPEG_QUALITY = 85


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Lossless PNG of a picture, RGB (height, width, 3) or RGBA (height, width, 4) with straight alpha."""
    height, width, channels = picture.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", _compressed(_filtered(picture))), (b"IEND", b"")]
    return _PNG_SIGNATURE + b"".join(map(_chunk, *zip(*parts, strict=True)))


def _compressed(rows: NDArray[np.uint8]) -> bytes:
    """Rows (height, bytes) as a zlib stream; those above and below all that is not empty come ready-made.

    Most of an overlay is empty, and to compress that takes as long as anything else.
    """
    filled = np.flatnonzero(rows[:, 1:].any(axis=1))
    first, end = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0)
    size = rows.shape[1]
    blocks = [
        *_empty_rows(first, size), _deflated(rows[first:end]), *_empty_rows(len(rows) - end, size)
    ]  # fmt: skip
    return _ZLIB_HEADER + b"".join(blocks) + _DEFLATE_END + struct.pack(">I", isal_zlib.adler32(rows.data))


def _empty_rows(count: int, size: int) -> list[bytes]:
    """Blocks of so many rows without differences to the ones above: one for each power of two that adds up to them."""
    return [_empty_block(1 << bit, size) for bit in range(count.bit_length()) if count >> bit & 1]


@lru_cache(64)
def _empty_block(count: int, size: int) -> bytes:
    rows = np.zeros((count, size), np.uint8)
    rows[:, 0] = _FILTER_UP
    return _deflated(rows)


def _deflated(rows: NDArray[np.uint8]) -> bytes:
    """Blocks of a deflate stream that look back at none before them, and are not the last ones (RFC 1951)."""
    compressor = isal_zlib.compressobj(PNG_LEVEL, wbits=-15)
    return compressor.compress(rows.data) + compressor.flush(isal_zlib.Z_FULL_FLUSH)


def _filtered(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows as differences to the row above, each behind the number of that filter (PNG specification, section 9)."""
    height = len(picture)
    pixels = picture.reshape(height, -1)
    rows = np.empty((height, pixels.shape[1] + 1), np.uint8)
    rows[:, 0] = _FILTER_UP
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    return rows


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", isal_zlib.crc32(kind + content))


def decode_png(png: bytes) -> NDArray[np.uint8]:
    """Picture of `encode_png`'s bytes, RGB or RGBA."""
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    from_file = cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(picture, from_file).astype(np.uint8, copy=False)


def encode_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """JPEG of an RGB picture, for looking at."""
    return _encoded(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _encoded(suffix: str, bgr: NDArray[Any], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, bgr, options)
    if not done:
        raise PoseDubError(f"A picture could not be encoded as {suffix[1:].upper()}; report this with the log.")
    return data.tobytes()
