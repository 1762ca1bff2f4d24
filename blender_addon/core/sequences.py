"""Numbered pictures as a movie: what an image sequence needs to be pose source or footage.

The server takes movies. The pictures go into an AVI container as they are, one for each frame, so that nothing is
encoded and no pixel changes (Microsoft, *AVI RIFF File Reference*; FFmpeg's codec tags MPNG and MJPG). A description is
written first, which costs nothing; the movie is made from it in the background, when it is about to be read.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
import uuid
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from .errors import AddonError
from .files import write_atomic

MOVIE, DESCRIPTION = ".avi", ".json"
LIMIT = 4 * 10**9
"""Bytes of the pictures together; the container counts in 32 bits."""
KINDS = {b"\x89PNG": b"MPNG", b"\xff\xd8\xff": b"MJPG"}
HAS_INDEX, KEY_FRAME = 0x10, 0x10
ADVICE = "Render the strip to a movie."


def describe(files: Sequence[Path], rate: Fraction, folder: Path) -> Path:
    """The movie that these pictures, so many per second, shall become; raises AddonError for a missing one."""
    seen = [(str(file), *_stamp(file)) for file in files]
    name = hashlib.sha256(repr((seen, rate)).encode()).hexdigest()[:32]
    movie = folder / f"{name}{MOVIE}"
    if not movie.with_suffix(DESCRIPTION).is_file():
        values = {"files": [str(file) for file in files], "rate": str(rate)}
        write_atomic(movie.with_suffix(DESCRIPTION), json.dumps(values).encode())
    return movie


def _stamp(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError as error:
        raise AddonError(f"The picture {file} is gone.", "Relink or replace the strip.") from error
    return status.st_size, status.st_mtime_ns


def is_described(movie: Path) -> bool:
    """Whether the file can be made when it is not there."""
    return movie.suffix == MOVIE and movie.with_suffix(DESCRIPTION).is_file()


def ensure(file: Path, step: Callable[[], object] = lambda: None) -> Path:
    """The same file; a movie that is only described is made. In a background thread.

    Args:
        step: called for each picture; it may raise to stop.

    Raises:
        AddonError: a picture cannot be read, is neither PNG nor JPEG, or is of another kind or size than the first.
    """
    if file.is_file() or not is_described(file):
        return file
    values = json.loads(file.with_suffix(DESCRIPTION).read_bytes())
    part = file.with_name(f"{file.stem}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as movie:
            _write(movie, [Path(name) for name in values["files"]], Fraction(values["rate"]), step)
        part.replace(file)
    except OSError as error:
        raise AddonError(f"The pictures of a strip cannot be read: {error}.", "Free space, or relink it.") from error
    finally:
        part.unlink(missing_ok=True)
    return file


def tidy(folder: Path, seconds: float) -> None:
    """Delete movies, also unfinished ones, that were not made within the last `seconds`; their descriptions stay."""
    for movie in (*folder.glob(f"*{MOVIE}"), *folder.glob("*.part")):
        if time.time() - movie.stat().st_mtime > seconds:
            movie.unlink(missing_ok=True)


def _write(movie: BinaryIO, files: Sequence[Path], rate: Fraction, step: Callable[[], object]) -> None:
    first = files[0].read_bytes()
    kind, size = _look(first, files[0])
    movie.write(_header(kind, size, len(files), rate))
    start, index = movie.tell() - 4, []
    for file in files:
        step()
        data = file.read_bytes()
        if _look(data, file) != (kind, size):
            raise AddonError(f"The picture {file} is of another kind or size than {files[0].name}.", ADVICE)
        index.append(struct.pack("<4s3I", b"00dc", KEY_FRAME, movie.tell() - start, len(data)))
        movie.write(_chunk(b"00dc", data))
        if movie.tell() > LIMIT:
            raise AddonError(f"The pictures beside {files[0]} have more than {LIMIT // 10**9} GB.", ADVICE)
    end = movie.tell()
    movie.write(_chunk(b"idx1", b"".join(index)))
    _patch(movie, start - 4, end - start)
    _patch(movie, 4, movie.seek(0, 2) - 8)


def _patch(movie: BinaryIO, place: int, size: int) -> None:
    movie.seek(place)
    movie.write(struct.pack("<I", size))


def _look(data: bytes, file: Path) -> tuple[bytes, tuple[int, int]]:
    """(codec tag, (width, height)) of a picture."""
    kind = next((tag for magic, tag in KINDS.items() if data.startswith(magic)), None)
    try:
        if kind == b"MPNG":
            return kind, struct.unpack(">2I", data[16:24])
        if kind == b"MJPG":
            return kind, _jpeg_size(data)
    except (struct.error, IndexError) as error:
        raise AddonError(f"The picture {file} is damaged.", "Export it again.") from error
    raise AddonError(f"The picture {file} is neither PNG nor JPEG.", ADVICE)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height as the frame header (SOF marker) states them."""
    place = 2
    while True:
        marker, length = data[place + 1], struct.unpack(">H", data[place + 2 : place + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">2H", data[place + 5 : place + 9])
            return width, height
        place += 2 + length


def _header(kind: bytes, size: tuple[int, int], frames: int, rate: Fraction) -> bytes:
    """All before the first picture; the sizes of the whole and of the list of pictures are still 0."""
    width, height = size
    microseconds = round(1_000_000 / rate)
    main = struct.pack("<14I", microseconds, 0, 0, HAS_INDEX, frames, 0, 1, 0, width, height, 0, 0, 0, 0)
    times = (rate.denominator, rate.numerator, 0, frames, 0, 0xFFFFFFFF, 0)
    stream = struct.pack("<4s4sIHHI7I4H", b"vids", kind, 0, 0, 0, 0, *times, 0, 0, 0, 0)
    pictures = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, kind, width * height * 3, 0, 0, 0, 0)
    described = _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", pictures))
    return b"RIFF\0\0\0\0AVI " + _list(b"hdrl", _chunk(b"avih", main) + described) + b"LIST\0\0\0\0movi"


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _list(name: bytes, data: bytes) -> bytes:
    return _chunk(b"LIST", name + data)
