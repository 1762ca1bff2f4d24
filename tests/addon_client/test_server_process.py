"""Starting, finding, stopping and diagnosing a local server process."""

import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from blender_addon.client.connection import Connection, Endpoint
from blender_addon.client.server_process import LocalServer, ServerState, find_posedub
from blender_addon.core.errors import AddonError
from tests.addon_client.stub_server import StubServer
from tests.limits import HANGS
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
SERVES = """
import signal, sys, threading
sys.path.insert(0, {root!r})
from tests.addon_client.stub_server import StubServer
print("arguments:", *sys.argv[1:], flush=True)
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set() if {obedient} else None)
with StubServer(port=int(sys.argv[sys.argv.index("--port") + 1])):
    ended.wait()
"""
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without asking")


@pytest.fixture
def local(tmp_path):
    """Makes local servers that run a script instead of `posedub`."""
    made = []

    def make(script, address=None, options=()):
        path = tmp_path / f"server{len(made)}.py"
        path.write_text(script)
        address = address or f"127.0.0.1:{free_port()}"
        log = tmp_path / "logs" / "server.log"
        made.append(LocalServer([sys.executable, str(path)], tmp_path / "data", log, address, options))
        return made[-1]

    yield make
    for server in made:
        server.stop(grace=0.1)
        server.wait(HANGS)


def serving(obedient=True):
    return SERVES.format(root=str(ROOT), obedient=obedient)


def test_start_serve_stop(local, tmp_path):
    server = local(serving(), options=["--weights", "w.safetensors"])
    assert server.state is ServerState.STOPPED
    server.start()
    assert server.wait(HANGS) is ServerState.RUNNING, server.advice
    assert server.owned
    words = server.log_tail().split()
    assert words[1:6] == ["serve", "--host", "127.0.0.1", "--port", server._endpoint.address.rpartition(":")[2]]
    assert words[6:] == [
        "--data",
        str(tmp_path / "data"),
        "--exit-with",
        str(os.getpid()),
        "--weights",
        "w.safetensors",
    ]
    process = server._process
    server.stop(grace=HANGS)
    assert server.state is ServerState.STOPPED and not server.owned
    server.wait(HANGS)
    assert process.returncode == 0


@posix_only
def test_a_deaf_process_is_killed(local):
    server = local(serving(obedient=False))
    server.start()
    assert server.wait(HANGS) is ServerState.RUNNING, server.advice
    server.stop(grace=0.2)
    server.wait(HANGS)
    assert server._process.returncode == -9


def test_restart_after_stop(local):
    server = local(serving())
    server.start()
    first = server.wait(HANGS), server._process
    server.stop()
    server.start()
    assert (first[0], server.wait(HANGS)) == (ServerState.RUNNING, ServerState.RUNNING)
    assert first[1].poll() is not None and server._process is not first[1]


def test_a_running_server_is_reused_and_left_alone(local):
    with StubServer() as running:
        server = local("raise SystemExit(9)", running.address)
        server.start()
        assert server.wait(HANGS) is ServerState.RUNNING
        assert not server.owned
        server.stop()
        server.wait(HANGS)
        with Connection(Endpoint(running.address)) as connection:
            assert connection.info().protocol == 1


def test_a_server_of_another_protocol_is_not_used(local):
    with StubServer() as running:
        running.protocol = 2
        server = local("raise SystemExit(9)", running.address)
        server.start()
        assert server.wait(HANGS) is ServerState.FAILED
        assert "Update the add-on." in server.advice


def test_a_server_of_an_earlier_blender_is_named(local):
    with StubServer() as running:
        running.version = "0.0.1"
        server = local("raise SystemExit(9)", running.address)
        server.start()
        assert server.wait(HANGS) is ServerState.FAILED
        assert f"PoseDub 0.0.1 still serves at {running.address}" in server.advice
        assert "Close the Blender that started it" in server.advice


def test_another_program_at_the_port(local):
    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    try:
        server = local("raise SystemExit(9)", f"127.0.0.1:{port}")
        server.start()
        assert server.wait(HANGS) is ServerState.FAILED
        assert "another port" in server.advice
    finally:
        other.stop(0).wait()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import no_such_module_anywhere", "install the model server again"),
        ("raise OSError(98, 'Address already in use')", "choose another port"),
        ("raise OSError(28, 'No space left on device')", "free some space"),
        ("raise SystemExit(7)", "ended with code 7. Look at its log."),
    ],
)
def test_early_exit_gives_advice(local, script, words):
    server = local(script)
    server.start()
    assert server.wait(HANGS) is ServerState.FAILED
    assert words in server.advice
    if "SystemExit" not in script:
        assert "Traceback" in server.log_tail()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "posedub: The disk of /data is full; free some space and try again.",
            "code 1. The disk of /data is full; free",
        ),
        (
            "posedub: This user may not serve on port 80; choose a --port from 1024 on.",
            "code 1. This user may not serve",
        ),
        (
            "posedub: ended by the system or by a library, most likely out of memory; close",
            "out of memory: close other",
        ),
    ],
)
def test_the_last_word_of_a_server_is_passed_on(local, line, words):
    server = local(f"import sys; print('starting'); sys.exit(print({line!r}) or 1)")
    server.start()
    assert server.wait(HANGS) is ServerState.FAILED
    assert words in server.advice


@posix_only
def test_a_server_that_the_system_ended_most_likely_lacked_memory(local):
    server = local("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    server.start()
    assert server.wait(HANGS) is ServerState.FAILED
    assert "code -9. The machine is out of memory" in server.advice


def test_a_data_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    data = tmp_path / "file" / "data"
    server = LocalServer([sys.executable], data, data / "log", f"127.0.0.1:{free_port()}")
    server.start()
    assert server.wait(HANGS) is ServerState.FAILED
    assert str(tmp_path / "file") in server.advice and "Choose another data folder" in server.advice


def test_missing_executable(tmp_path):
    server = LocalServer([str(tmp_path / "none")], tmp_path, tmp_path / "log", f"127.0.0.1:{free_port()}")
    server.start()
    assert server.wait(HANGS) is ServerState.FAILED
    assert "could not be started" in server.advice and "preferences" in server.advice
    assert server.log_tail() == ""


@posix_only
def test_death_after_start_is_noticed(local):
    server = local(serving())
    server.start()
    assert server.wait(HANGS) is ServerState.RUNNING
    server._process.kill()
    server._process.wait()
    assert server.state is ServerState.FAILED
    assert "ended with code -9" in server.advice


def test_stop_while_starting(local):
    server = local("import threading; threading.Event().wait()")
    server.start()
    server.stop(grace=0.2)
    assert server.wait(HANGS) is ServerState.STOPPED
    assert server._process is None or server._process.poll() is not None


def test_long_logs_are_read_from_their_end(local):
    server = local("print('x' * 70000); print(*range(50), sep='\\n'); raise SystemExit(1)")
    server.start()
    server.wait(HANGS)
    assert server.log_tail(3) == "47\n48\n49"


def executable(path):
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@posix_only
def test_executable_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert find_posedub() is None
    beside = executable(tmp_path / "project" / ".venv" / "bin" / "posedub")
    assert find_posedub(beside=tmp_path / "project" / "films" / "one") == [str(beside)]
    on_path = executable(tmp_path / "path" / "posedub")
    assert find_posedub(beside=tmp_path / "project") == [str(on_path)]
    assert find_posedub(str(beside)) == [str(beside)]
    assert find_posedub(str(tmp_path / "none")) is None


def test_no_leftover_threads(local):
    server = local("raise SystemExit(1)")
    server.start()
    server.wait(HANGS)
    assert not any(thread.name == "posedub launcher" for thread in threading.enumerate())


def test_errors_of_a_stopped_server_are_sentences(local):
    server = local(serving())
    with (
        Connection(Endpoint(server._endpoint.address)) as connection,
        pytest.raises(AddonError, match="No model server"),
    ):
        connection.info()


def test_a_server_that_leaves_is_waited_for(local):
    with socket.socket() as leaving:
        leaving.bind(("127.0.0.1", 0))
        leaving.listen()
        server = local(serving(), f"127.0.0.1:{leaving.getsockname()[1]}")
        server.start()
        leaving.accept()[0].close()  # it was looked for
    assert server.wait(HANGS) is ServerState.RUNNING, server.advice
    assert server.owned


QUICKER = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
ready, serves = os.pipe()
if child := os.fork():
    Path(sys.argv[0]).with_suffix(".pid").write_text(str(child))
    os.read(ready, 1)
    print("Port 1 of 127.0.0.1 is taken; stop the other server or choose --port.")
    sys.exit(2)
from tests.addon_client.stub_server import StubServer
with StubServer(port=int(sys.argv[sys.argv.index("--port") + 1])):
    os.write(serves, b"1")
    __import__("signal").pause()
"""


@posix_only
def test_a_server_that_was_quicker_is_used(local, tmp_path):
    server = local(QUICKER.format(root=str(ROOT)))
    server.start()
    try:
        assert server.wait(HANGS) is ServerState.RUNNING, server.advice
        launched = server._process
        if launched is not None:
            launched.wait(HANGS)
        assert server.state is ServerState.RUNNING and not server.owned
    finally:
        os.kill(int((tmp_path / "server0.pid").read_text()), signal.SIGKILL)
