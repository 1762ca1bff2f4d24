"""A report to paste into a bug tracker, without names and secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_HOMES = re.compile(r"(?i)((?:/home|/users|\\+users|/mnt/[a-z]/users)[/\\]+)[^/\\\s\"':]+(?: [^/\\\s\"':]+(?=[/\\]))*")
_SECRETS = re.compile(
    r"""(?i)((?:authorization|token|password|secret)["']?\s*[:=]\s*["']?(?:bearer\s+)?|bearer\s+)[^\s"',]+"""
)


def redact(text: str, secrets: Iterable[str] = (), home: Path | None = None) -> str:
    """Replace secrets, the home folder, and user names in paths.

    Args:
        secrets: exact texts that must not appear, such as the token.
        home: the user's folder; the running user's when None.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "<secret>")
    folder = str(home or Path.home())
    if len(folder) > 1:
        text = text.replace(folder, "~")
    return _SECRETS.sub(r"\1<secret>", _HOMES.sub(r"\1<user>", text))


def report(
    sections: Mapping[str, Mapping[str, object]], log: str = "", secrets: Iterable[str] = (), home: Path | None = None
) -> str:
    """Titled `key: value` lines, then the log; all redacted."""
    blocks = [
        "\n".join([title, *(f"  {key}: {value}" for key, value in entries.items())])
        for title, entries in sections.items()
    ]
    if log:
        blocks.append(f"Log\n{log}")
    return redact("\n\n".join(blocks), secrets, home) + "\n"
