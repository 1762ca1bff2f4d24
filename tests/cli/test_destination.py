"""What --out may not be: one of the inputs, or a kind of file that is not written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from model_server.cli.main import main


@pytest.fixture
def desk(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: talk.mp4, speech.wav, and a folder `take` with a portrait named as a frame is."""
    (tmp_path / "take").mkdir()
    shutil.copy(media / "pose.mp4", tmp_path / "talk.mp4")
    shutil.copy(media / "speech.wav", tmp_path)
    shutil.copy(media / "portrait.png", tmp_path / "take" / "000000.png")
    (tmp_path / "link.mp4").symlink_to("talk.mp4")
    (tmp_path / "face.png").symlink_to(Path("take", "000000.png"))
    (tmp_path / "copy").symlink_to("take")
    os.link(tmp_path / "talk.mp4", tmp_path / "twin.mp4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *options: object) -> str:
    """The sentence with which a dub is refused before anything is made."""
    settings = ["--audio", "speech.wav", "--pose-mode", "frontal", "--range", "0:1", "--data", "data"]
    assert main(["dub", *map(str, options), *settings]) == 1
    said = capsys.readouterr().err
    assert said.startswith("posedub: ") and said.count("\n") == 1
    assert not Path("data").exists()
    return said


@pytest.mark.parametrize(
    ("into", "out"),
    [
        ("talk.mp4", "talk.mp4"),
        ("talk.mp4", "take/../talk.mp4"),
        ("link.mp4", "talk.mp4"),
        ("talk.mp4", "link.mp4"),
        ("twin.mp4", "talk.mp4"),
    ],
)
def test_footage_is_not_replaced_by_its_dub(desk: Path, capsys: pytest.CaptureFixture, into: str, out: str) -> None:
    before = (desk / "talk.mp4").read_bytes()
    face = ["--portrait", "take/000000.png", "--crop", "aligned"]
    assert "one of its inputs; choose another --out" in refused(capsys, "--into", into, *face, "--out", out)
    assert "one of its inputs" in refused(capsys, "--into", into, *face, "--out", desk / out)
    assert (desk / "talk.mp4").read_bytes() == before


@pytest.mark.parametrize("portrait", ["take/000000.png", "face.png", "copy/000000.png"])
@pytest.mark.parametrize("out", ["take", "copy", "./take/"])
def test_a_portrait_is_not_replaced_by_a_frame(
    desk: Path, capsys: pytest.CaptureFixture, portrait: str, out: str
) -> None:
    before = (desk / "take" / "000000.png").read_bytes()
    said = refused(capsys, "--portrait", portrait, "--crop", "aligned", "--out", out)
    assert "000000.png, which is one of its inputs" in said
    assert (desk / "take" / "000000.png").read_bytes() == before


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".AVI", ".gif", ".wav", ".png"])
def test_other_suffixes_make_no_folder(desk: Path, capsys: pytest.CaptureFixture, suffix: str) -> None:
    said = refused(capsys, "--portrait", "face.png", "--crop", "aligned", "--out", f"dub{suffix}")
    assert f"dub{suffix}" in said and ".mp4, .m4v, .mov" in said
    assert not (desk / f"dub{suffix}").exists()


def test_a_folder_may_have_a_dot(desk: Path) -> None:
    options = ["--portrait", "face.png", "--audio", "speech.wav", "--pose-mode", "frontal", "--crop", "aligned"]
    assert main(["dub", *options, "--range", "0:1", "--data", "data", "--out", "take.2"]) == 0
    assert [path.name for path in (desk / "take.2").glob("*.png")] == ["000000.png"]


def test_only_movies_that_a_dub_wrote_are_replaced(desk: Path, capsys: pytest.CaptureFixture) -> None:
    before = (desk / "talk.mp4").read_bytes()
    options = ["--portrait", "face.png", "--crop", "aligned"]
    assert "The file talk.mp4 is there already and no dub" in refused(capsys, *options, "--out", "talk.mp4")
    (desk / "notes.mov").write_text("no movie at all")
    assert "notes.mov is there already" in refused(capsys, *options, "--out", "notes.mov")
    assert (desk / "talk.mp4").read_bytes() == before and (desk / "notes.mov").read_text() == "no movie at all"
    words = [*options, "--audio", "speech.wav", "--pose-mode", "frontal", "--data", "data", "--out", "new/own.mp4"]
    sizes = []
    for part in ("0:1", "0:9"):  # into a folder that is not there yet, and then over the first one
        assert main(["dub", *words, "--range", part]) == 0
        sizes.append((desk / "new" / "own.mp4").stat().st_size)
    assert sizes[0] < sizes[1]
