"""What an editor stated about the people who are shown: asked once for each file, which is told by its content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .files import write_atomic

CHOICES = (
    ("unstated", "Not Stated", "Nothing is noted; this is not asked again for this file"),
    ("own", "My Own Face", "The person shown is you"),
    ("permission", "Permission Given", "The person shown agreed to this use"),
    ("licence", "Licensed", "A licence allows this use of the person's likeness"),
    ("synthetic", "Synthetic Person", "Nobody is shown: the person was drawn or generated"),
)
"""Value, title and description of each short statement."""
_TEXTS = {"own": "own face", "permission": "permission given", "licence": "licence", "synthetic": "synthetic person"}
_ENDS = 1 << 20


def statement(choice: str, remark: str = "") -> str:
    """The text of a choice, with what the editor wrote beside it; "" when nothing was stated."""
    return ": ".join(filter(None, (_TEXTS.get(choice, ""), " ".join(remark.split()))))


def content_key(file: Path) -> str:
    """Names a file by its content, "" where it cannot be read.

    By its size, beginning and end, so that footage of any length takes a moment: who looks for the same key in another
    file of strangers gains nothing.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as content:
            digest = hashlib.sha256(str(size).encode() + content.read(_ENDS))
            content.seek(max(_ENDS, size - _ENDS))
            digest.update(content.read(_ENDS))
    except OSError:
        return ""
    return digest.hexdigest()


class Consents:
    """The statements of this user, kept in a file.

    Args:
        file: need not be there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._keys: dict[tuple[Path, int, int], str] = {}

    def of(self, person: Path) -> str | None:
        """What was stated about whom a file shows, "" for nothing; None when it was never asked."""
        return self._read().get(self._key(person))

    def remember(self, person: Path, text: str) -> None:
        """Keep a statement; raises AddonError when it cannot be written."""
        if key := self._key(person):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._file, json.dumps(self._read() | {key: text}, indent=1).encode())

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _key(self, person: Path) -> str:
        """Read again only when size or time of the file changed."""
        try:
            status = person.stat()
        except OSError:
            return ""
        seen = (person, status.st_size, status.st_mtime_ns)
        if seen not in self._keys:
            self._keys[seen] = content_key(person)
        return self._keys[seen]
