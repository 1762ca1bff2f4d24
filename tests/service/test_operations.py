"""What watches over a server: metrics, probes, logs, traces; and a restart that loses no frame."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Command, one_sentence, posedub
from tests.gate import Gate
from tests.limits import HANGS
from tests.servers import ServerProcess, free_port, wait_until_stopping

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed: pip install 'posedub[studio]'")
parser = pytest.importorskip("prometheus_client.parser")
BOARD = Path(__file__).parents[2] / "model_server" / "deploy" / "grafana.json"


def asked(port: int, page: str) -> tuple[int, str]:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}{page}") as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def values(port: int) -> dict[tuple[str, str], float]:
    """Of each metric, by its name and its last label's value."""
    families = parser.text_string_to_metric_families(asked(port, "/metrics")[1])
    samples = (sample for family in families for sample in family.samples)
    return {(one.name, next(reversed([*one.labels.values()]), "")): one.value for one in samples}


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(gate: Gate, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("watched") / "server"
    options = ["--metrics", str(port), "--log-format", "json", "--traces", str(data.with_name("spans.jsonl"))]
    with ServerProcess(data, options, gate=gate) as started:
        yield started


@pytest.fixture
def dub(server: ServerProcess, media: Path, tmp_path: Path) -> Command:
    options = {
        "portrait": media / "portrait.png",
        "audio": media / "speech.wav",
        "pose-mode": "frontal",
        "crop": "aligned",
        "range": "0:6",
        "server": server.address,
        "out": tmp_path / "frames",
    }
    return Command("dub", options, {})


def test_metrics_count_what_was_done_and_what_failed(dub: Command, port: int, tmp_path: Path) -> None:
    before = values(port)
    assert dub(seed=1).returncode == 0 and dub(seed=1, range="0:7").returncode == 0
    (tmp_path / "noise.png").write_bytes(bytes(range(256)))
    assert dub(portrait=tmp_path / "noise.png").returncode == 1
    now = values(port)

    def more(name: str, label: str) -> float:
        return now[name, label] - before.get((name, label), 0)

    assert more("posedub_frames_total", "drawn") == 7 and more("posedub_frames_total", "reused") == 6
    assert more("posedub_jobs_ended_total", "done") == 2 and more("posedub_jobs_ended_total", "failed") == 1
    assert sum(more(*key) for key in now if key[0] == "posedub_errors_total") == 1
    assert now["posedub_jobs", "queued"] == now["posedub_jobs", "running"] == 0
    assert now["posedub_store_free_bytes", ""] > 0 and now["process_resident_memory_bytes", ""] > 2**20


def test_the_board_shows_metrics_that_there_are(dub: Command, port: int) -> None:
    text = asked(port, "/metrics")[1]
    assert re.findall(r"posedub_gpu_memory_bytes", text)  # named also where there is no such card
    board = json.loads(BOARD.read_text())
    shown = {name for panel in board["panels"] for target in panel["targets"]
             for name in re.findall(r"\b(?:posedub|process)_\w+", target["expr"])}  # fmt: skip
    known = {
        name for family in parser.text_string_to_metric_families(text) for name in (family.name, f"{family.name}_total")
    }
    assert len(shown) >= 8 and shown <= known


def test_probes_and_the_log(dub: Command, server: ServerProcess, port: int) -> None:
    assert asked(port, "/healthz") == asked(port, "/readyz") == (200, "ok\n")
    assert asked(port, "/else")[0] == 404
    assert dub(seed=2).returncode == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    ended = [line for line in lines if line.get("job") and "done" in line["message"]]
    assert ended and {"time", "level", "logger"} <= ended[-1].keys()


@pytest.mark.slow
def test_a_rolling_restart_loses_no_frame_and_the_probe_says_so(
    dub: Command, gate: Gate, server: ServerProcess, port: int, tmp_path: Path
) -> None:
    """The server is asked to leave in the middle of a dub; the next one over the same store ends it."""
    with gate.closed(), dub.started(seed=3, range="0:40") as process:
        process.wait_for("frames:")
        gate.wait_for_somebody()  # told, and not yet drawn, it would leave at once
        server.process.send_signal(signal.SIGTERM)
        wait_until_stopping(server.address)
        assert asked(port, "/readyz") == (503, "The server is stopping.\n")
        assert asked(port, "/healthz")[0] == 200
    assert server.process.wait(HANGS) == 0
    spans = [json.loads(line) for line in (server.data.parent / "spans.jsonl").read_text().splitlines()]
    names = {span["name"] for span in spans}
    assert {"dub", "speech", "frames"} <= names
    whole = {span["context"]["span_id"] for span in spans if span["name"] == "dub"}
    assert all(span["parent_id"] in whole for span in spans if span["name"] == "frames")
    server.start()
    assert dub(seed=3, range="0:40").returncode == 0
    assert len(list((tmp_path / "frames").glob("*.png"))) == 40
    now = values(port)
    assert now["posedub_jobs", "done"] >= 1 and now["posedub_store_bytes", ""] > 40 * 1000


def test_a_place_that_is_taken_or_none_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = posedub("serve", "--port", "0", "--data", tmp_path / "data", "--metrics", port, check=False)
    assert f"Port {port} of 127.0.0.1 is taken; stop the other server or choose --metrics." in one_sentence(taken)
    wrong = posedub("serve", "--port", "0", "--data", tmp_path / "data", "--metrics", "here", check=False)
    assert "--metrics here names no port" in one_sentence(wrong)
