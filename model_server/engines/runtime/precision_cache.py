"""What was measured on this computer, so that it is decided once: frames made before are found again by it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from model_server.files import replacing


def remembered(file: Path | None, key: str) -> str | None:
    """The choice kept under a key, None where there is none or no file that can be read."""
    kept = _read(file).get(key)
    return kept if isinstance(kept, str) else None


def remember(file: Path | None, key: str, choice: str) -> None:
    """Keep a choice; without a file, or a place for it, it is measured again next time."""
    if file is None:
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part:
            part.write_text(json.dumps(_read(file) | {key: choice}, indent=1) + "\n", encoding="utf-8")


def _read(file: Path | None) -> dict[str, object]:
    try:
        known = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
