"""Weights files say what they are, and are refused in one sentence when they do not fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model_server.engines.device import resolve_device
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import untrained, write_weights
from model_server.engines.weights import describe, load_engine
from model_server.errors import ErrorKind, PoseDubError


def refusal(path: Path) -> PoseDubError:
    with pytest.raises(PoseDubError) as caught:
        describe(path)
    return caught.value


def test_written_weights_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    state = untrained_state("lite")
    write_weights(path, state, "lite", "trained", "Mine", source="ab" * 32)
    info = describe(path)
    assert (info.name, info.kind, info.preset, info.source) == ("Mine", "trained", "lite", "ab" * 32)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.safetensors"]

    windows, codes = np.zeros((1, 80, 20), np.float32), np.zeros((1, 12), np.float32)
    crops = np.full((1, 224, 224, 3), 90, np.uint8)
    drawn = []
    for weights in (info, untrained()):
        engine = load_engine(weights, "cpu", "fp32")
        drawn.append(engine.frames(engine.identity(crops), windows, codes, 1.2, 3))
    np.testing.assert_array_equal(*drawn)


@pytest.mark.skipif(os.name == "nt", reason="files have no such modes there")
def test_weights_can_be_read_by_whoever_can_read_new_files(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    write_weights(tmp_path / "w.safetensors", untrained_state("lite"), "lite", "trained", "w")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_half_precision_files_load(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    write_weights(path, {name: value.half() for name, value in untrained_state("lite").items()}, "lite", "trained", "h")
    engine = load_engine(describe(path), "cpu", "fp32")
    assert engine.pose_codes(np.zeros((1, 224, 224, 3), np.uint8)).dtype == np.float32


def test_every_wrong_tensor_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    state = untrained_state("lite")
    del state["generator.synthesis.first.bias"]
    state["generator.second.bias"] = torch.zeros(3)
    state["speech_encoder.readout.bias"] = torch.zeros(5)
    write_weights(path, state, "lite", "trained", "wrong")
    message = refusal(path).message
    assert "generator.synthesis.first.bias is missing" in message
    assert "generator.second.bias is not known" in message
    assert "speech_encoder.readout.bias is (5,) instead of (320,)" in message


def test_foreign_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    assert refusal(path).kind is ErrorKind.NOT_FOUND
    path.write_text("no weights at all")
    assert refusal(path).kind is ErrorKind.CORRUPT
    save_file({"a": torch.zeros(2)}, path)
    assert refusal(path).kind is ErrorKind.UNSUPPORTED
    write_weights(path, untrained_state("lite"), "lite", "trained", "cut")
    path.write_bytes(path.read_bytes()[:-1000])
    assert refusal(path).kind is ErrorKind.CORRUPT
    assert refusal(tmp_path).kind is ErrorKind.NOT_FOUND


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="nowhere"):
        write_weights(tmp_path / "nowhere" / "x.safetensors", untrained_state("lite"), "lite", "trained", "x")


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(PoseDubError, match="auto, cpu, cuda, mps or xpu"):
        resolve_device("tpu")
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_torch_is_only_imported_when_an_engine_is_loaded() -> None:
    code = "import sys, model_server.engines.weights, model_server.cli.weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
