"""Which sound tracks a movie file has and when each begins: MP4, MOV and Matroska, read from their headers.

Blender plays one track of a file and tells nothing of the others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

MAX_HEADER = 64 << 20
"""Bytes of a header; larger ones are not looked at, nor is what follows so many bytes."""
SEGMENT, INFO, TRACKS, TRACK, CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0x1F43B675
NUMBER, TYPE, NAME, LANGUAGE, LANGUAGE_TAG = 0xD7, 0x83, 0x536E, 0x22B59C, 0x22B59D
NANOSECONDS, TIME, GROUP, BLOCKS = 0x2AD7B1, 0xE7, 0xA0, (0xA1, 0xA3)
SOUND = 2
"""Type of a Matroska track."""
UNNAMED = ("", "und")


@dataclass(frozen=True)
class SoundTrack:
    """A sound track.

    Attributes:
        name: title and language, "" where it has none.
        begin: second of the file at which it begins.
    """

    name: str
    begin: Fraction


def sound_tracks(file: Path) -> tuple[SoundTrack, ...]:
    """The sound tracks of a file; () for other kinds of files and damaged ones."""
    try:
        with file.open("rb") as stream:
            begin = stream.read(8)
            stream.seek(0)
            if begin[4:] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip"):
                return tuple(_mp4_tracks(_moov(stream)))
            if begin[:4] == b"\x1a\x45\xdf\xa3":
                return tuple(_matroska_tracks(stream))
    except (OSError, struct.error, IndexError, ZeroDivisionError):
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


def _mp4_tracks(moov: bytes) -> Iterator[SoundTrack]:
    mvhd = dict(_boxes(moov)).get(b"mvhd", b"")
    (scale,) = struct.unpack_from(">I", mvhd, 20 if mvhd[:1] == b"\1" else 12)
    for kind, trak in _boxes(moov):
        parts = dict(_boxes(trak)) if kind == b"trak" else {}
        media = dict(_boxes(parts.get(b"mdia", b"")))
        if media.get(b"hdlr", b"")[8:12] == b"soun":
            title = dict(_boxes(parts.get(b"udta", b""))).get(b"name", b"")
            name = _named(title.rstrip(b"\0").decode(errors="replace"), _mp4_language(media.get(b"mdhd", b"")))
            edits = dict(_boxes(parts.get(b"edts", b""))).get(b"elst", b"")
            yield SoundTrack(name, Fraction(_empty(edits), scale))


def _empty(elst: bytes) -> int:
    """How long an edit list plays nothing before it plays the track (ISO 14496-12, 8.6.6)."""
    edit, total = struct.Struct(">QqI" if elst[:1] == b"\1" else ">IiI"), 0
    for duration, media_time, _rate in edit.iter_unpack(elst[8 : 8 + (len(elst) - 8) // edit.size * edit.size]):
        if media_time != -1:
            break
        total += duration
    return total


def _mp4_language(mdhd: bytes) -> str:
    """Three letters, five bits each."""
    (code,) = struct.unpack_from(">H", mdhd, 32 if mdhd[:1] == b"\1" else 20)
    letters = [(code >> shift & 31) + 96 for shift in (10, 5, 0)]
    return bytes(letters).decode() if all(97 <= letter <= 122 for letter in letters) else ""


def _matroska_tracks(stream: BinaryIO) -> Iterator[SoundTrack]:
    nanoseconds, tracks = _headers(stream)
    entries = [dict(_elements(entry)) for kind, entry in _elements(tracks) if kind == TRACK]
    sounds = [entry for entry in entries if _unsigned(entry.get(TYPE)) == SOUND]
    begins = _begins(stream, {_unsigned(entry.get(NUMBER)) for entry in sounds} if len(sounds) > 1 else set())
    for entry in sounds:
        found = (entry.get(part, b"").rstrip(b"\0") for part in (NAME, LANGUAGE, LANGUAGE_TAG))
        title, language, tag = (text.decode(errors="replace") for text in found)
        begin = Fraction(begins.get(_unsigned(entry.get(NUMBER)), 0) * nanoseconds, 10**9)
        yield SoundTrack(_named(title, tag or language), begin)


def _unsigned(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "big")


def _headers(stream: BinaryIO) -> tuple[int, bytes]:
    """Nanoseconds of a tick of a Matroska file, and the content of its list of tracks, where the stream then stands."""
    nanoseconds = 10**6
    while (kind := _number(stream, keep=True)) is not None and kind != CLUSTER:
        size = _number(stream)
        if kind == SEGMENT:
            continue
        if size is None or size > MAX_HEADER:
            break
        if kind == TRACKS:
            return nanoseconds, stream.read(size)
        if kind == INFO:
            nanoseconds = _unsigned(dict(_elements(stream.read(size))).get(NANOSECONDS)) or nanoseconds
        else:
            stream.seek(size, 1)
    return nanoseconds, b""


def _begins(stream: BinaryIO, wanted: set[int]) -> dict[int, int]:
    """Tick of the first block of each track by its number, as far as they come early in the file."""
    begins: dict[int, int] = {}
    time = 0
    while wanted - begins.keys() and stream.tell() < MAX_HEADER and (kind := _number(stream, keep=True)) is not None:
        size = _number(stream)
        if kind in (CLUSTER, GROUP):
            continue
        if size is None:
            break
        if kind == TIME:
            time = _unsigned(stream.read(size))
        elif kind in BLOCKS:
            end = stream.tell() + size
            track = _number(stream) or 0
            begins.setdefault(track, time + struct.unpack(">h", stream.read(2))[0])
            stream.seek(end)
        else:
            stream.seek(size, 1)
    return begins


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


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    stream = BytesIO(data)
    while (kind := _number(stream, keep=True)) is not None:
        yield kind, stream.read(_number(stream) or 0)
