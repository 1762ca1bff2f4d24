"""`posedub store` on the data folder of real dubs."""

from __future__ import annotations

from pathlib import Path

from model_server.cli.frames_folder import frame_files
from model_server.jobs.store import Store
from tests.cli.commands import posedub


def dub(media: Path, out: Path, data: Path, weights: Path) -> dict[str, bytes]:
    inputs = ("--portrait", media / "portrait.png", "--audio", media / "speech.wav", "--crop", "aligned")
    asked = ("--pose-mode", "frontal", "--range", "0:3", "--weights", weights)
    posedub("dub", *inputs, *asked, "--out", out, "--data", data)
    return {path.name: path.read_bytes() for path in frame_files(out)}


def test_a_damaged_frame_is_found_and_made_again(media: Path, untrained_weights: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    frames = dub(media, tmp_path / "out", data, untrained_weights)
    assert "0 damaged; 0 dubs lack frames" in posedub("store", "verify", "--data", data).stdout
    store = Store(data)
    (job,) = store.jobs()
    (_, sha), *_ = store.frames(job.id, 0, 3)
    store.blobs.path(sha).write_bytes(b"torn")
    found = posedub("store", "verify", "--data", data, check=False)
    assert found.returncode == 1 and sha in found.stdout and "1 damaged; 1 dubs lack frames" in found.stdout
    posedub("store", "verify", "--repair", "--data", data)
    assert dub(media, tmp_path / "again", data, untrained_weights) == frames
    assert "0 damaged; 0 dubs lack frames" in posedub("store", "verify", "--data", data).stdout
    assert " 1 dubs" in posedub("store", "show", "--data", data).stdout
    assert posedub("store", "prune", "--data", data, "--keep-gib", "1").stdout.startswith("0 dubs and 0 files")
