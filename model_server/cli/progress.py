"""Where progress bars are drawn: on a terminal as they are, elsewhere in few lines."""

from __future__ import annotations

import re
import sys
from time import monotonic
from typing import TextIO

SECONDS = 10.0


def stream() -> TextIO | Lines:
    """The `file` of a tqdm bar: stderr if it is a terminal, else what keeps logs short."""
    return sys.stderr if sys.stderr.isatty() else Lines(sys.stderr)


class Lines:
    """Makes a progress bar's redraws lines of a log: one for each phase, the last one, and one every ten seconds.

    A phase is what stands before a bar's first number.
    """

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._phase: str | None = None
        self._written = 0.0
        self._held = ""

    @property
    def encoding(self) -> str:
        """Of the log, by which tqdm chooses its letters."""
        return self._log.encoding

    def write(self, text: str) -> None:
        """A redraw, or what ends or clears a line."""
        self._held = text.strip() or self._held
        phase = re.split(r"\d", self._held)[0].strip()
        ends = text == "\n"
        if self._held and (ends or phase != self._phase or monotonic() - self._written > SECONDS):
            self._log.write(f"{self._held}\n")
            self._phase, self._written, self._held = phase, monotonic(), ""

    def flush(self) -> None:
        """Write out what the log holds."""
        self._log.flush()
