"""The terminal, or what stands in for it: closed pipes, encodings that lack letters, libraries that talk."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO

from model_server.cli import watcher

JSON = "json"
"""For `log`: a JSON object in each line, with `time`, `level`, `logger`, `message`, and `job` where it is about one."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# The program's own loggers, and those that report its faults.
_ABOUT_JOB = re.compile(r"job ([0-9a-f]+):")
_HEARD = ("model_server", "asyncio", "concurrent", "grpc")


def prepare() -> None:
    """Make what the program writes arrive, and what libraries write vanish; `python -X dev` lets them speak.

    Ends with `watcher.dismiss`.
    """
    _fill_standard_places()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if sys.flags.dev_mode:
        return
    sys.stderr.flush()
    sys.stderr = _writer(os.dup(2), sys.stderr.encoding)  # the program's own; file 2 is any library's
    watcher.begin()
    log(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def log(level: int = logging.INFO, form: str = LOG_FORMAT) -> None:
    """Write the program's log to stderr."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.name.split(".")[0] in _HEARD)
    handler.setFormatter(_JsonLines() if form == JSON else logging.Formatter(form))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _JsonLines(logging.Formatter):
    """A record as one line that programs read."""

    def format(self, record: logging.LogRecord) -> str:
        about = _ABOUT_JOB.match(record.getMessage())
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **({"job": about[1]} if about else {}),
            **({"exception": self.formatException(record.exc_info)} if record.exc_info else {}),
        }
        return json.dumps(line, ensure_ascii=False)


def say(sentence: str) -> None:
    """The program's last word, on stderr if somebody reads it."""
    with suppress(OSError):
        print(f"posedub: {sentence}", file=sys.stderr, flush=True)


def flush() -> None:
    """Write out what is held; raises BrokenPipeError when nobody reads it any more."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def hang_up() -> None:
    """Nobody reads any more: what is still held goes nowhere, so that the interpreter's end stays silent."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def _fill_standard_places() -> None:
    """Started without stdin, stdout or stderr, no other file may take their numbers."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    sys.stdout = sys.stdout or _writer(1)
    sys.stderr = sys.stderr or _writer(2)


def _writer(handle: int, encoding: str | None = None) -> TextIO:
    return open(handle, "w", buffering=1, encoding=encoding, errors="backslashreplace")  # noqa: SIM115 - lives on
