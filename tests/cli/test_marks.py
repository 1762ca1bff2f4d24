"""Every dub of the command says what made it, and `posedub verify` reads it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from model_server.provenance.xmp import read_mark
from tests.cli.commands import one_sentence, posedub
from tests.conftest import drawn_head, write_movie


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this user's certificate is kept."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def dub(own: Path, media: Path, tmp_path: Path):  # noqa: ANN201
    given = ("--portrait", media / "portrait.png", "--audio", media / "speech.wav", "--crop", "aligned", "--fps", 10)

    def made(out: str, *options: object) -> Path:
        posedub("dub", *given, "--data", tmp_path / "data", "--out", tmp_path / out, *options)
        return tmp_path / out

    return made


def test_frames_say_who_drew_them_and_their_folder_is_signed(dub, media: Path) -> None:  # noqa: ANN001
    folder = dub("frames", "--consent", "own face")
    said = posedub("verify", folder).stdout
    job = json.loads((folder / "manifest.json").read_text())["job"]
    assert "marked and unchanged" in said and "frames 0 to 21" in said and "consent: own face" in said
    assert "portrait: portrait.png" in said and "speech: speech.wav" in said
    for path in folder.glob("*.png"):
        mark = read_mark(path.read_bytes())
        assert mark.by_posedub and mark.job == job and mark.digital_source_type.endswith("/trainedAlgorithmicMedia")


def test_frames_used_again_are_the_same_bytes(dub) -> None:  # noqa: ANN001
    first, again = dub("frames", "--range", "0:3"), dub("again", "--range", "1:3", "--consent", "licensed")
    for k in (1, 2):
        assert (first / f"{k:06}.png").read_bytes() == (again / f"{k:06}.png").read_bytes()


def test_a_folder_of_two_dubs_says_so(dub) -> None:  # noqa: ANN001
    folder = dub("frames", "--range", "0:4")
    dub("frames", "--range", "2:6", "--seed", 7)
    said = posedub("verify", folder).stdout
    assert "frames 0 to 3" in said and "frames 2 to 5" in said and "unchanged" in said


def test_a_movie_is_signed_and_a_changed_byte_is_noticed(dub) -> None:  # noqa: ANN001
    movie = dub("dub.mp4", "--range", "0:4")
    assert "all of it: drawn by networks" in posedub("verify", movie).stdout
    content = bytearray(movie.read_bytes())
    content[len(content) // 2] ^= 1
    movie.write_bytes(content)
    done = posedub("verify", movie, check=False)
    assert done.returncode == 1 and "CHANGED" in done.stdout


def test_a_render_is_marked_with_the_dubs_it_shows(dub, own: Path, tmp_path: Path) -> None:  # noqa: ANN001
    render = write_movie(tmp_path / "render.mp4", [drawn_head(k / 9) for k in range(9)], Fraction(25))
    assert posedub("verify", render, check=False).returncode == 1
    shown = {"job": "job7", "weights": {"id": "ab", "name": "W"}, "frames": {"first": 2, "end": 5}}
    dubs = [shown | {"sources": [{"role": "speech", "sha256": "cd", "name": "take \x1b[31m1.wav"}]}]
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"format": 1, "version": "1", "composed": True, "dubs": dubs}))
    posedub("mark", render, "--record", record)
    said = posedub("verify", render).stdout
    assert "frames 2 to 4" in said and "take ?[31m1.wav" in said, "names do not steer the terminal"


def test_what_cannot_be_marked_or_read(own: Path, media: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text("{}")
    cases = [
        (("mark", media / "pose.mp4", "--record", record), "as a record of dubs"),
        (("verify", tmp_path / "gone.mp4"), "There is no file"),
        (("verify", media / "speech.wav"), "holds no marks"),
        (("mark", media / "pose.mp4", "--record", record, "--mark-cert", record), "--mark-key"),
    ]
    for words, sentence in cases:
        assert sentence in one_sentence(posedub(*words, check=False))


def test_another_list_in_the_way_is_named_before_the_work(own: Path, media: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "marks.json").write_text("my notes")
    given = ("--portrait", media / "portrait.png", "--audio", media / "speech.wav", "--crop", "aligned")
    done = posedub("dub", *given, "--data", tmp_path / "data", "--out", folder, check=False)
    assert "marks.json is no list" in one_sentence(done)
    assert [path.name for path in folder.iterdir()] == ["marks.json"]


def test_the_invisible_pattern_is_found_where_marks_are_lost(dub, tmp_path: Path) -> None:  # noqa: ANN001
    large = ("--range", "0:2", "--size", 448)
    plain, marked = dub("plain", *large), dub("marked", *large, "--presence-mark")
    first = marked / "000000.png"
    assert first.read_bytes() != (plain / "000000.png").read_bytes()
    saved = tmp_path / "saved.jpg"
    Image.open(first).save(saved, quality=90)
    done = posedub("verify", saved, check=False)
    assert done.returncode == 1 and "no signed mark" in done.stdout and "invisible pattern is in it" in done.stdout
    Image.open(plain / "000000.png").save(saved, quality=90)
    assert "no invisible pattern" in posedub("verify", saved, check=False).stdout
