"""The whole command on a short clip: what it compares, never how fast it is."""

import json
from pathlib import Path

import pytest

from model_server.cli.main import main

STAGES = ("mel", "identity", "pose", "speech", "generator", "encode")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Rows of a run by name and unit."""
    path: Path = tmp_path_factory.mktemp("bench") / "speed.json"
    options = ["--preset", "lite", "--device", "cpu", "--seconds", "0.2", "--repeats", "1", "--batches", "2"]
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


def test_wrong_use_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json", str(tmp_path / "none" / "speed.json")]) == 1
    assert "There is no folder" in capsys.readouterr().err
