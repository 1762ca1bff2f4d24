"""The whole command on a short clip: what it compares, never how fast it is."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from model_server.bench.footage import IntoPlan, into_rows
from model_server.bench.inputs import demo_inputs
from model_server.bench.serving import Plan, serve_rows
from model_server.cli.main import main
from model_server.engines.dae_talker.actor_file import write_actor
from model_server.engines.dae_talker.untrained import TOY, untrained_networks, write_untrained
from model_server.engines.dae_talker.weights import Actor
from model_server.engines.pcavs.weights import untrained

pytestmark = pytest.mark.slow

STAGES = ("mel", "identity", "pose", "speech", "generator", "encode")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Rows of a run by name and unit."""
    path: Path = tmp_path_factory.mktemp("bench") / "speed.json"
    options = ["--preset", "lite", "--device", "cpu", "--precision", "fp32"]
    options += ["--seconds", "0.12", "--repeats", "1", "--batches", "2"]
    assert main(["bench", *options, "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert "fp32" in found["setting"]["lite"] and found["setting"]["threads"]
    return {f"{row['name']}, {row['unit']}": row for row in found["rows"]}


def test_every_stage_has_both_paths(report: dict[str, dict[str, object]]) -> None:
    for name in (*STAGES, "end to end from decoded media", "end to end from files"):
        row = report[f"{name}, ms/frame"]
        assert row["fast"]["median"] > 0 and row["reference"]["median"] > 0  # type: ignore[index]


def test_both_paths_make_the_same_pictures(report: dict[str, dict[str, object]]) -> None:
    assert report["pictures: largest difference, of 255"]["fast"]["median"] <= 2  # type: ignore[index]
    assert report["pictures: equal within 1 of 255, %"]["fast"]["median"] >= 99.99  # type: ignore[index]


def test_servers_are_measured_through_both_clients(tmp_path: Path) -> None:
    plan = Plan(demo_inputs(), untrained("lite"), "cpu", "fp32", seconds=0.2, lengths=(0.2, 0.4), jobs=2, repeats=1)
    values = {row.name: row.fast.median for row in serve_rows(plan, lambda text: None)}
    assert all(value > 0 for name, value in values.items() if "growth" not in name)
    assert {
        "server ready",
        "first frame, cold",
        "preview of one frame, warm",
        "first to last file of the add-on's client, warm",
        "time per frame, 0.4 s against 0.2 s",
        "memory growth, 0.4 s against 0.2 s",
        "2 jobs, at once against in sequence",
        "preview of one frame beside 2 jobs",
    } < set(values)


def test_actors_are_measured_on_servers_in_each_number_of_steps(tmp_path: Path) -> None:
    actor, path = write_untrained(tmp_path / "actor.safetensors"), tmp_path / "speed.json"
    options = ["--actor", str(actor), "--steps", "1", "4", "--seconds", "0.2", "--repeats", "1", "--lengths", "0.2,0.4"]
    assert main(["bench", *options, "--device", "cpu", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    names = {steps: {row["name"] for row in rows if row["group"].endswith(steps)} for steps in ("1 step", "4 steps")}
    assert names["4 steps"] >= {"first frame, warm", "preview of one frame, warm", "0.2 s through gRPC, warm"}
    assert names["1 step"] - names["4 steps"] >= {"memory growth, 0.4 s against 0.2 s", "clip of 0.4 s"}
    assert all(row["fast"]["median"] > 0 for row in rows if "growth" not in row["name"])


def test_what_cannot_be_measured_is_said_before_anything_is(
    untrained_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--actor", str(untrained_weights)]) == 1
    assert "give it with --weights" in capsys.readouterr().err
    small = tmp_path / "small.safetensors"
    networks = replace(untrained_networks(), autoencoder=None)
    write_actor(small, networks, Actor("Toy", (-9, -9, -9), (9, 9, 9)), TOY, "untrained")
    assert main(["bench", "--actor", str(small), "--steps", "1", "4"]) == 1
    assert "draws in one step only" in capsys.readouterr().err


def test_dubs_into_footage_have_their_rates_memory_and_stages(tmp_path: Path) -> None:
    plan = IntoPlan(demo_inputs(), untrained("lite"), "cpu", "fp32", [(640, 360)], 0.1, modes=("full_frame",))
    rows = into_rows(plan, lambda text: None)
    values = {row.name: row.fast.median for row in rows if row.group == "lite, into 640x360"}
    assert len(values) == len(rows) == 2 * 2 + 1 + 4
    assert all(value > 0 for name, value in values.items() if "growth" not in name)
    assert {"full_frame, 0.1 s, server's memory", "full_frame, 0.4 s, through gRPC"} < set(values)


@pytest.mark.parametrize("sizes", ["1920", "1920x1081", "axb", "1920x"])
def test_sizes_of_footage_are_checked(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--into", sizes])
    assert sizes in capsys.readouterr().err


def test_wrong_use_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json", str(tmp_path / "none" / "speed.json")]) == 1
    assert "There is no folder" in capsys.readouterr().err
