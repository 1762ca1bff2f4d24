"""Which sound tracks a movie file has: MP4, MOV and Matroska, read from their headers alone.

Blender plays one track of a file and tells nothing of the others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

MAX_HEADER = 64 << 20
"""Bytes of a header; larger ones are not looked at."""
SEGMENT, TRACKS, TRACK, CLUSTER = 0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675
TYPE, NAME, LANGUAGE, LANGUAGE_TAG = 0x83, 0x536E, 0x22B59C, 0x22B59D
SOUND = 2
"""Type of a Matroska track."""
UNNAMED = ("", "und")


def sound_tracks(file: Path) -> tuple[str, ...]:
    """Title and language of each sound track, "" where it has none; () for other kinds of files and damaged ones."""
    try:
        with file.open("rb") as stream:
            begin = stream.read(8)
            stream.seek(0)
            if begin[4:] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip"):
                return tuple(_mp4_tracks(_moov(stream)))
            if begin[:4] == b"\x1a\x45\xdf\xa3":
                return tuple(_matroska_tracks(_tracks(stream)))
    except (OSError, struct.error, IndexError):
        pass
    return ()


def _named(*words: str) -> str:
    return ", ".join(word for word in words if word not in UNNAMED)


def _moov(stream: BinaryIO) -> bytes:
    """Content of an MP4 file's header, wherever it lies."""
    while header := stream.read(8):
        size, kind = struct.unpack(">I4s", header)
        rest = size - 8 if size != 1 else struct.unpack(">Q", stream.read(8))[0] - 16
        if kind == b"moov":
            return stream.read(rest) if rest <= MAX_HEADER else b""
        if rest < 0:  # to the end of the file
            break
        stream.seek(rest, 1)
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + size]
        at += max(size, 8)


def _mp4_tracks(moov: bytes) -> Iterator[str]:
    for kind, trak in _boxes(moov):
        parts = dict(_boxes(trak)) if kind == b"trak" else {}
        media = dict(_boxes(parts.get(b"mdia", b"")))
        if media.get(b"hdlr", b"")[8:12] == b"soun":
            title = dict(_boxes(parts.get(b"udta", b""))).get(b"name", b"")
            yield _named(title.rstrip(b"\0").decode(errors="replace"), _mp4_language(media.get(b"mdhd", b"")))


def _mp4_language(mdhd: bytes) -> str:
    """Three letters, five bits each."""
    (code,) = struct.unpack_from(">H", mdhd, 32 if mdhd[:1] == b"\1" else 20)
    letters = [(code >> shift & 31) + 96 for shift in (10, 5, 0)]
    return bytes(letters).decode() if all(97 <= letter <= 122 for letter in letters) else ""


def _tracks(stream: BinaryIO) -> bytes:
    """Content of a Matroska file's list of tracks."""
    while (kind := _number(stream, keep=True)) is not None and kind != CLUSTER:
        size = _number(stream)
        if kind == SEGMENT:
            continue
        if size is None or kind == TRACKS:
            return stream.read(size) if size is not None and size <= MAX_HEADER else b""
        stream.seek(size, 1)
    return b""


def _number(stream: BinaryIO, keep: bool = False) -> int | None:
    """A number whose first bits tell its length, kept in an id; None at the end, and for a size that is unknown."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + stream.read(length - 1), "big")
    if keep:
        return value
    value -= 1 << 7 * length
    return value if value != (1 << 7 * length) - 1 else None


def _matroska_tracks(tracks: bytes) -> Iterator[str]:
    for kind, entry in _elements(tracks):
        parts = dict(_elements(entry)) if kind == TRACK else {}
        if int.from_bytes(parts.get(TYPE, b""), "big") == SOUND:
            found = (parts.get(part, b"").rstrip(b"\0") for part in (NAME, LANGUAGE, LANGUAGE_TAG))
            title, language, tag = (text.decode(errors="replace") for text in found)
            yield _named(title, tag or language)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    stream = BytesIO(data)
    while (kind := _number(stream, keep=True)) is not None:
        yield kind, stream.read(_number(stream) or 0)
