"""Marks by the server's command, which has the keys and knows the files' formats; Blender's Python has neither."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import AddonError
from .server_process import LAST_WORD, environment

LIMIT = 900.0
"""Seconds after which a command that does not end is given up; a film of 64 MB takes a fifth of one."""


def mark(command: Sequence[str], record: Mapping[str, Any]) -> None:
    """Sign the files that a record names; raises AddonError.

    Args:
        command: the server's executable, as `find_posedub` gives it.
    """
    with tempfile.TemporaryDirectory(prefix="posedub-mark-") as folder:
        file = Path(folder) / "record.json"
        file.write_text(json.dumps(record), encoding="utf-8")
        done = _ended([*command, "mark", "--record", str(file)])
    if done.returncode:
        said = [line.removeprefix(LAST_WORD) for line in done.stderr.splitlines() if line.startswith(LAST_WORD)]
        raise AddonError(said[-1] if said else f"The command posedub ended with code {done.returncode}.", "")


def _ended(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT,
            env=environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AddonError(
            f"The command {words[0]} did not mark it: {error}.", "Correct its path in the preferences."
        ) from error
