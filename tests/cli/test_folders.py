"""Frames of one dub in the folder of another: no stale ones, and nothing of anybody else's is lost."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired

import pytest

from tests.cli.commands import Command, one_sentence
from tests.conftest import speechlike, write_wav
from tests.gate import Gate
from tests.limits import HANGS


@pytest.fixture
def dub(media: Path, tmp_path: Path) -> Command:
    options = {
        "portrait": media / "portrait.png",
        "audio": media / "speech.wav",
        "pose-mode": "frontal",
        "crop": "aligned",
        "data": tmp_path / "data",
        "out": tmp_path / "frames",
    }
    return Command("dub", options, {})


def frames(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.png"))


def test_a_shorter_dub_leaves_no_frames_of_a_longer_one(dub: Command, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    assert dub(fps=10).returncode == 0 and frames(folder) == list(range(22))
    mine = ("000030.png", "000005.jpg", "0007.png", "notes.txt")
    for name in mine:
        (folder / name).write_text("mine")
    assert dub(fps=5).returncode == 0
    beside = {"manifest.json", "marks.json", "marks.c2pa", *mine}
    assert {path.name for path in folder.iterdir()} == {f"{k:06}.png" for k in range(11)} | beside
    assert all((folder / name).read_text() == "mine" for name in mine)


def test_the_same_for_shorter_speech_and_after_an_interrupt(dub: Command, gate: Gate, tmp_path: Path) -> None:
    """A dub that was broken off has told already whose its frames are."""
    dub.gate = gate
    folder = tmp_path / "frames"
    with gate.closed(), dub.started(fps=100) as process:
        process.wait_for("frames:")
        while not list(folder.glob("*.png")):
            with suppress(TimeoutExpired):
                assert process.wait(0.05) is None
        process.kill()
    dub.gate = None
    short = write_wav(tmp_path / "short.wav", speechlike(0.1))
    assert dub(audio=short, fps=10).returncode == 0
    assert frames(folder) == [0]


def test_parts_of_one_dub_come_together_in_one_folder(dub: Command, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    for part in ("0:4", "4:9"):
        assert dub(range=part).returncode == 0
    assert dub(range="2:5", seed=7).returncode == 0
    assert frames(folder) == list(range(9))
    assert json.loads((folder / "manifest.json").read_text())["frames"] == [[0, 9]]
    assert dub(range="8:12", fps=24).returncode == 0
    assert frames(folder) == [8, 9, 10, 11]


def test_files_that_no_dub_wrote_are_not_replaced(dub: Command, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "000003.png").write_text("mine")
    assert "000003.png, which no dub wrote there" in one_sentence(dub())
    assert [path.name for path in folder.iterdir()] == ["000003.png"]
    assert dub(range="0:2").returncode == 0
    (folder / "manifest.json").write_text('{"name": "an extension of a browser"}')
    assert "manifest.json was not written by this command" in one_sentence(dub(range="0:2"))


def test_a_dub_that_fails_leaves_no_folder(dub: Command, media: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "frames"
    one_sentence(dub(portrait=media / "speech.wav", out=out))
    one_sentence(dub(range="50:900", out=out))
    assert not out.parent.exists()
    out.mkdir(parents=True)
    one_sentence(dub(portrait=media / "speech.wav", out=out))
    assert out.is_dir()


def test_an_earlier_manifest_without_a_list_of_frames(dub: Command, tmp_path: Path) -> None:
    """Frames of earlier versions are known by what was asked for."""
    folder = tmp_path / "frames"
    assert dub(fps=10).returncode == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["frames"], manifest["state"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert dub(fps=5).returncode == 0
    assert frames(folder) == list(range(11))


def test_two_dubs_do_not_write_to_one_place(dub: Command, gate: Gate, tmp_path: Path) -> None:
    dub.gate = gate
    (tmp_path / "same").symlink_to("frames")
    with gate.closed(), dub.started() as process:
        process.wait_for("frames:")
        for out in (tmp_path / "frames", tmp_path / "same"):
            assert f"Another dub is being written to {out}; wait" in one_sentence(dub(out=out, seed=3))
        assert dub(out=tmp_path / "other", range="0:2").returncode == 0
        process.kill()
        process.wait(HANGS)
    assert dub(range="0:2").returncode == 0
    assert not [path for path in (tmp_path / "frames").iterdir() if path.suffix not in (".png", ".json", ".c2pa")]


def test_frames_that_vanish_meanwhile_are_missed(dub: Command, gate: Gate, tmp_path: Path) -> None:
    dub.gate, folder = gate, tmp_path / "frames"
    with dub.started() as process:
        with gate.closed():
            while not (folder / "000000.png").exists():
                with suppress(TimeoutExpired):
                    assert process.wait(0.05) is None
            (folder / "000000.png").unlink()
        assert process.wait(HANGS) == 1
        assert f"The folder {folder} lacks frame 0;" in process.rest()
    assert json.loads((folder / "manifest.json").read_text())["state"] == "running"
    assert dub().returncode == 0 and frames(folder) == list(range(55))


def test_what_becomes_of_an_earlier_dub_is_said(dub: Command, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    assert "note:" not in dub(range="0:6").stderr
    assert "note:" not in dub(range="4:8").stderr
    said = dub(range="2:4", seed=7).stderr
    assert f"note: frames 0-1, 4-7 in {folder} stay from an earlier dub with other settings\n" in said
    parts = json.loads((folder / "manifest.json").read_text())["parts"]
    assert [(part["frames"], part["request"]["spec"]["seed"]) for part in parts] == [
        ([[0, 2], [4, 8]], 0),
        ([[2, 4]], 7),
    ]
    said = one_sentence(dub(range="2:4", size=256))
    assert "frames 0-1, 4-7 of an earlier dub in 224x224, and this one's would be 256x256" in said
    assert frames(folder) == list(range(8))
    assert "note:" not in dub(range="0:8", size=256).stderr
    (part,) = json.loads((folder / "manifest.json").read_text())["parts"]
    assert part["frames"] == [[0, 8]] and part["request"]["spec"]["size"] == 256
    assert f"note: 7 frames of an earlier dub were removed from {folder}\n" in dub(range="0:1", fps=5).stderr
