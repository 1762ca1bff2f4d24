"""The commands, from a corpus to a weights file."""

import json
from pathlib import Path

import pytest

from model_server.cli import train
from model_server.cli.main import parser
from model_server.engines.weights import describe
from model_server.errors import PoseDubError

QUICK = ["trunk.steps=1", "trunk.batch=2", "log_every=1"]


def command(*arguments: object) -> int:
    options = parser().parse_args([str(argument) for argument in arguments])
    return options.run(options)


def test_train_pack_unpack_export(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    common = ["--corpus", corpus, "--stage", "trunk", "--device", "cpu", "--set", *QUICK]
    assert command("train", "--preset", "lite", "--out", run, *common) == 0
    assert json.loads((run / "losses.jsonl").read_text())["stage"] == "trunk"
    assert command("checkpoint", "pack", run, "--out", tmp_path / "parts", "--light") == 0
    assert command("checkpoint", "unpack", tmp_path / "parts", "--out", moved) == 0
    assert command("checkpoint", "export", moved, "--out", tmp_path / "a.safetensors", "--name", "trial") == 0
    info = describe(tmp_path / "a.safetensors")
    assert (info.name, info.kind, info.preset) == ("trial", "trained", "lite")
    assert info.id in capsys.readouterr().out


def test_an_unfinished_run_says_so(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--corpus", corpus, "--device", "cpu", "--max-minutes", "0.01"]
    assert command("train", "--preset", "lite-cpu", "--out", tmp_path, *common) == train.UNFINISHED
    assert "not finished" in capsys.readouterr().out


def test_wrong_use_is_named(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="--preset"):
        command("train", "--corpus", corpus, "--out", tmp_path)
    with pytest.raises(PoseDubError, match="no training preset huge"):
        command("train", "--preset", "huge", "--corpus", corpus, "--out", tmp_path)
    with pytest.raises(PoseDubError, match="no checkpoint"):
        command("checkpoint", "pack", tmp_path, "--out", tmp_path / "parts")
