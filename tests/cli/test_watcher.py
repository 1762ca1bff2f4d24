"""The one sentence of a command that was ended at once, also where Ray did it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.limits import HANGS
from tests.servers import free_port

pytestmark = pytest.mark.skipif(os.name == "nt", reason="watchers are forked")
ENDED = """
import os, signal, sys
from model_server.cli import watcher
watcher.begin()
os.write(2, b"a library talks")
watcher.depend_on_cluster("127.0.0.1", int(sys.argv[1]))
os.write(2, b"and talks" * 100)
os.kill(os.getpid(), signal.SIGKILL)
"""


def said_at_the_end(port: int) -> str:
    words = [sys.executable, "-c", ENDED, str(port)]
    return subprocess.run(words, capture_output=True, text=True, timeout=HANGS).stderr


def test_a_server_that_ray_ended_blames_the_head_that_is_gone() -> None:
    port = free_port()
    said = said_at_the_end(port)
    assert f"the head of the Ray cluster at 127.0.0.1:{port} does not answer any more" in said
    assert "out of memory" not in said and "talks" not in said


def test_memory_is_blamed_where_the_head_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        assert "most likely out of memory" in said_at_the_end(head.getsockname()[1])
