"""A precision is measured once on a computer and kept for the next time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_server.engines.pcavs import precision
from model_server.engines.pcavs.weights import untrained
from model_server.engines.runtime.precision_cache import remember, remembered
from model_server.engines.weights import load_engine
from model_server.networks.cpu import bf16


def test_choices_are_kept_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "new" / "choices.json"
    remember(file, "one", "fp32")
    remember(file, "other", "bf16")
    remember(file, "one", "bf16")
    assert (remembered(file, "one"), remembered(file, "other"), remembered(file, "third")) == ("bf16", "bf16", None)
    assert [path.name for path in file.parent.iterdir()] == ["choices.json"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"one": 3}', "\udcff"])
def test_a_damaged_file_holds_nothing_and_is_written_anew(tmp_path: Path, content: str) -> None:
    file = tmp_path / "choices.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert remembered(file, "one") is None
    remember(file, "one", "fp32")
    assert remembered(file, "one") == "fp32"


def test_without_a_place_nothing_is_kept_and_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for file in (None, tmp_path / "file" / "choices.json"):
        remember(file, "one", "fp32")
        assert remembered(file, "one") is None


def test_what_was_measured_holds_for_the_next_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "choices.json"
    monkeypatch.setattr(bf16, "native", lambda: True)
    monkeypatch.setattr(precision, "_gain", lambda networks, device: 3.0)
    assert load_engine(untrained(), "cpu", "auto", file).precision == "bf16"
    monkeypatch.setattr(precision, "_gain", lambda networks, device: 1.0)
    assert load_engine(untrained(), "cpu", "auto", file).precision == "bf16"
    assert load_engine(untrained(), "cpu", "fp32", file).precision == "fp32"
    (key,) = json.loads(file.read_text())
    file.write_text(json.dumps({key: "fp8"}))
    assert load_engine(untrained(), "cpu", "auto", file).precision == "fp32"
