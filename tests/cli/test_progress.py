"""Progress in a log: a line for each phase, the last one, and one every ten seconds; not one for each redraw."""

from __future__ import annotations

import io
import sys

import pytest
from tqdm import tqdm

from model_server.cli import progress


class Stream(io.StringIO):
    """What a program writes to, a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def drawn(monkeypatch: pytest.MonkeyPatch, terminal: bool, seconds: float) -> str:
    """All that a bar of three phases and 1000 redraws writes in so many seconds."""
    stream, now = Stream(terminal), 0.0
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    with tqdm(total=1000, desc="queued", file=progress.stream()) as bar:
        for done in range(1, 61):
            bar.set_description(f"pose {done}/60")
        bar.set_description("frames")
        for _ in range(1000):
            now += seconds / 1000
            bar.update()
            bar.refresh()
        bar.write("warning: look here", file=sys.stderr)
    return stream.getvalue()


def test_a_log_gets_a_line_for_each_phase_and_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third, warning, last = drawn(monkeypatch, False, 5).splitlines()
    assert (first[:7], second[:10], third[:7], last[:12]) == ("queued:", "pose 1/60:", "frames:", "frames: 100%")
    assert warning == "warning: look here"


def test_a_long_phase_is_heard_of_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch, False, 45).splitlines()
    assert len([line for line in lines if line.startswith("frames:")]) == 1 + 4 + 1


def test_a_terminal_gets_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, True, 5).count("\r") > 1000
