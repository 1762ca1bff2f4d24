"""The published checkpoint becomes one weights file, and nothing that it holds ever runs."""

from __future__ import annotations

import argparse
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from legacy_checkpoint import published_entries, save_legacy
from numpy.typing import NDArray

from model_server.cli import weights as command
from model_server.engines.pcavs.family import import_checkpoint
from model_server.engines.pcavs.published_checkpoint import MAX_FILE_BYTES
from model_server.engines.weights import describe, load_engine
from model_server.errors import PoseDubError
from model_server.files import file_digest

pytestmark = pytest.mark.slow

Without = Callable[[str], Path]


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    options = parser.parse_args(["weights", *arguments])
    return options.run(options)


def refusal(source: Path, out: Path) -> str:
    with pytest.raises(PoseDubError) as caught:
        import_checkpoint(source, out)
    assert not out.exists() and list(out.parent.glob(".*")) == []
    return caught.value.message


@pytest.fixture(scope="module")
def demo_zip(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("download") / "demo.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in checkpoint.iterdir():
            archive.write(file, f"demo/{file.name}")
        archive.writestr("__MACOSX/demo/._latest_net_G.pth", b"resource fork")
        archive.writestr("demo/latest_net_D.pth", b"not needed for inference")
    return path


def test_imported_weights_draw_the_golden_pictures(
    demo_zip: Path, tmp_path: Path, golden: Mapping[str, NDArray], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pcavs.safetensors"
    assert run("import", str(demo_zip), "--out", str(out), "--name", "PC-AVS demo") == 0
    info = describe(out)
    assert (info.name, info.kind, info.preset) == ("PC-AVS demo", "imported", "full")
    assert info.id == file_digest(out) and info.source == file_digest(demo_zip)
    printed = capsys.readouterr().out
    assert info.id in printed and info.source in printed and "imported" in printed
    assert run("info", str(out)) == 0
    assert capsys.readouterr().out == printed

    engine = load_engine(info, "cpu", "fp32")
    ref, drive = (golden[name].transpose(0, 2, 3, 1) for name in ("ref", "drive"))
    for n in range(3):
        identity = engine.identity(ref[n : n + 1])
        codes = engine.pose_codes(drive[n : n + 1])
        drawn = engine.frames(identity, golden["spectrogram"][n].astype(np.float32), codes, 1.2, seed=0)
        expected = (golden["G.image"][n].transpose(1, 2, 0).astype(np.float32) + 1) * 127.5
        assert np.abs(drawn[0] - expected).max() <= 0.6


def test_a_folder_is_as_good_as_a_zip(checkpoint: Path, tmp_path: Path) -> None:
    info = import_checkpoint(checkpoint, tmp_path / "folder.safetensors")
    assert info.name == checkpoint.name and len(info.source) == 64


def test_every_missing_and_misshapen_entry_is_named(without: Without, tmp_path: Path) -> None:
    path = without("A_sync")
    entries = published_entries("A_sync")
    del entries["model.layer3.2.se.fc.0.weight"], entries["model.attention.2.running_var"]
    entries["model.fc.weight"] = torch.zeros(512, 1024)
    entries["model.bn1.bias"] = torch.full((32,), torch.nan)
    save_legacy(entries, path)
    message = refusal(path.parent, tmp_path / "out.safetensors")
    assert "A_sync:model.layer3.2.se.fc.0.weight is missing" in message
    assert "A_sync:model.attention.2.running_var is missing" in message
    assert "A_sync:model.fc.weight has the shape (512, 1024) instead of (512, 2560)" in message
    assert "A_sync:model.bn1.bias holds infinite or undefined numbers" in message
    assert message.count("A_sync:") == 4 and "G:" not in message


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_that_runs_code_is_refused(legacy: bool, without: Without, tmp_path: Path) -> None:
    path = without("G")
    entries = {"conv1.noise.weight": torch.zeros(1), "evil": Evil(tmp_path / "ran")}
    torch.save(entries, path, _use_new_zipfile_serialization=not legacy)
    assert "asks to run code" in refusal(path.parent, tmp_path / "out.safetensors")
    assert not (tmp_path / "ran").exists()


def test_the_evil_pickle_of_these_tests_would_run(tmp_path: Path) -> None:
    save_legacy(Evil(tmp_path / "ran"), tmp_path / "evil.pth")
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "ran").exists()


def cut_in_half(path: Path, checkpoint: Path) -> None:
    whole = (checkpoint / path.name).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def claim_eight_gigabytes(path: Path, checkpoint: Path) -> None:
    save_legacy({"model.conv1.weight": torch.zeros(70_000)}, path)
    true, claimed = struct.pack("<cI", b"J", 70_000), struct.pack("<cI", b"J", 2**31 - 1)
    data = path.read_bytes()
    assert true in data
    path.write_bytes(data.replace(true, claimed))


def write_text(path: Path, checkpoint: Path) -> None:
    path.write_text("<html>please sign in</html>")


def write_a_list(path: Path, checkpoint: Path) -> None:
    save_legacy([torch.zeros(3)], path)


@pytest.mark.parametrize("damage", [cut_in_half, claim_eight_gigabytes, write_text, write_a_list])
def test_damaged_files_are_refused(
    damage: Callable[[Path, Path], None], without: Without, checkpoint: Path, tmp_path: Path
) -> None:
    path = without("A_sync")
    damage(path, checkpoint)
    message = refusal(path.parent, tmp_path / "out.safetensors")
    assert "latest_net_A_sync.pth" in message and "damaged" in message


def test_a_file_that_unpacks_to_too_much_is_refused(without: Without, tmp_path: Path) -> None:
    path = without("G")
    path.touch()
    os.truncate(path, MAX_FILE_BYTES + 1)
    assert "larger than any published network" in refusal(path.parent, tmp_path / "out.safetensors")


def test_incomplete_or_unreadable_checkpoints_are_refused(without: Without, tmp_path: Path) -> None:
    out = tmp_path / "out" / "out.safetensors"
    out.parent.mkdir()
    assert "lacks latest_net_V.pth" in refusal(without("V").parent, out)
    (tmp_path / "notes.zip").write_text("no zip")
    assert "no readable zip" in refusal(tmp_path / "notes.zip", out)
    assert "no checkpoint at" in refusal(tmp_path / "nowhere.zip", out)


def test_two_epochs_without_a_latest_are_refused(without: Without, checkpoint: Path, tmp_path: Path) -> None:
    path = without("A_sync")
    for epoch in (3, 4):
        os.link(checkpoint / path.name, path.with_name(f"{epoch}_net_A_sync.pth"))
    assert "epochs 3, 4" in refusal(path.parent, tmp_path / "out.safetensors")


def test_a_damaged_zip_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for network in ("V", "E", "A_sync", "G"):
            archive.writestr(f"latest_net_{network}.pth", b"weights" * 100)
    path.write_bytes(path.read_bytes().replace(b"weightsweights", b"weightsWEIGHTS", 1))
    assert "latest_net_V.pth of demo.zip cannot be read" in refusal(path, tmp_path / "out.safetensors")
