"""AAC in ADTS frames (ISO 13818-7, 6.2), also where a file is damaged.

FFmpeg looks for the next header wherever one is lost, takes others for it, and says nothing of what it leaves out.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

_HEADER = 7
_ID3 = b"ID3"
_TAGS = (_ID3, b"TAG", b"APETAGEX")


def adts_frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each frame that is whole, with its header, behind the number of frames lost before it.

    That is guessed from the bytes between, by the size of the frames so far; tags amid the file are no loss.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = frames = total = 0
        at = _next(data, _behind_tag(data))
        while at is not None:
            junk = at - end if frames and not data[end : end + 8].startswith(_TAGS) else 0
            lost = max(1, round(junk * frames / total)) if junk else 0
            end = at + _length(data, at)
            frames, total = frames + 1, total + end - at
            yield lost, data[at:end]
            at = end if _follows(data, end) else _next(data, end)


def _behind_tag(data: mmap.mmap) -> int:
    """Where an ID3 tag at the beginning ends; its size has seven bits in each byte."""
    if not data[:10].startswith(_ID3) or len(data) < 10:
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))


def _length(data: mmap.mmap, at: int) -> int:
    """Bytes of the frame whose header lies here; 0 where none does."""
    head = data[at : at + _HEADER]
    if len(head) < _HEADER or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > _HEADER else 0


def _follows(data: mmap.mmap, at: int) -> bool:
    """Whether a whole frame lies here."""
    return 0 < _length(data, at) <= len(data) - at


def _next(data: mmap.mmap, at: int) -> int | None:
    """Where the next frame begins that another one, or the end of the file, follows."""
    while (at := data.find(b"\xff", at)) >= 0:
        end = at + _length(data, at)
        if _follows(data, at) and (end == len(data) or _length(data, end)):
            return at
        at += 1
    return None
