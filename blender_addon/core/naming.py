"""Names that every file system takes, and folders that never overwrite an older result."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

MAX_NAME = 60
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_VERSION = re.compile(r"v(\d{3,})", re.IGNORECASE)


def safe_name(text: str, fallback: str = "dub") -> str:
    """A file or folder name like `text`, at most 60 characters and 180 bytes, legal on Windows too."""
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text))
    name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cf", "Cs"))
    name = _shortened(name.strip(" .")).strip(" .")
    if not name.strip("_"):
        return fallback
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def _shortened(name: str) -> str:
    return name[:MAX_NAME].encode()[: 3 * MAX_NAME].decode(errors="ignore")


def is_newer(one: str, other: str) -> bool:
    """Whether the version `one` ("v012") was begun after the `other`."""
    return (len(one), one) > (len(other), other)


def next_version(folder: Path) -> Path:
    """Create and return the next of `folder`/v001, v002, ...; an existing one is never given again."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(match[1]) for path in folder.iterdir() if (match := _VERSION.fullmatch(path.name))]
    number = max(taken, default=0)
    while True:
        number += 1
        path = folder / f"v{number:03}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def frame_name(index: int) -> str:
    """File name of a frame by its dub index: `000000.png`."""
    return f"{index:06}.png"


def saved_end(folder: Path, first: int, end: int) -> int:
    """The first index in [first, end] whose frame is not in the folder; `end` when none is missing."""
    for index in range(first, end):
        path = folder / frame_name(index)
        if not path.is_file() or path.stat().st_size == 0:
            return index
    return end
