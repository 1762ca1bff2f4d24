"""A server's own node of a Ray cluster, here programs that speak as Ray's command does."""

from __future__ import annotations

import logging
import sys

import pytest

from model_server.errors import PoseDubError
from model_server.jobs.execution.ray_workers import node
from model_server.jobs.execution.ray_workers.node import OwnNode
from tests.limits import HANGS

JOINED = "print('--block: this command will now block forever until terminated by a signal.', flush=True)"
MUCH = 20_000
"""Lines, more than any pipe holds."""


def speaking(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(node, "start_command", lambda address, resources: [sys.executable, "-c", program])


def test_a_node_may_say_much_after_it_has_joined(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    speaking(monkeypatch, f"{JOINED}\nfor n in range({MUCH}): print('line', n)")
    started = OwnNode("127.0.0.1:1")
    assert started._process.wait(HANGS) == 0
    started.end()
    assert f"line {MUCH - 1}" in caplog.messages[-1] and len(caplog.messages) == MUCH + 1


def test_a_node_that_cannot_join_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    speaking(monkeypatch, "import sys; print('looking for the head'); sys.exit('Unable to connect to the head')")
    with pytest.raises(PoseDubError, match="Unable to connect to the head"):
        OwnNode("127.0.0.1:1")
    speaking(monkeypatch, "")
    with pytest.raises(PoseDubError, match="ended without a word"):
        OwnNode("127.0.0.1:1")
