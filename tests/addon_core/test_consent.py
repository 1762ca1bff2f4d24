"""What was stated about a person is remembered by the file's content, wherever it lies and whatever it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from blender_addon.core.consent import CHOICES, Consents, content_key, statement


@pytest.fixture
def consents(tmp_path: Path) -> Consents:
    return Consents(tmp_path / "user" / "consent.json")


def test_it_is_asked_once_for_each_content(consents: Consents, tmp_path: Path) -> None:
    face, copy, other = (tmp_path / name for name in ("face.png", "copy.png", "other.png"))
    face.write_bytes(b"a face")
    assert consents.of(face) is None
    consents.remember(face, "own face")
    copy.write_bytes(b"a face")
    other.write_bytes(b"another")
    again = Consents(tmp_path / "user" / "consent.json")
    assert (again.of(face), again.of(copy), again.of(other)) == ("own face", "own face", None)
    face.write_bytes(b"another face in the same file")
    assert again.of(face) is None


def test_nothing_stated_is_an_answer_too(consents: Consents, tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(b"a face")
    consents.remember(tmp_path / "face.png", statement("unstated"))
    assert consents.of(tmp_path / "face.png") == ""


def test_long_files_are_told_apart_by_size_beginning_and_end(tmp_path: Path) -> None:
    keys = set()
    for size, beginning, end in ((5, b"a", b"z"), (6, b"a", b"z"), (5, b"b", b"z"), (5, b"a", b"y")):
        (tmp_path / "film").write_bytes(beginning + bytes(size << 20) + end)
        keys.add(content_key(tmp_path / "film"))
    assert len(keys) == 4 and content_key(tmp_path / "gone") == ""


def test_a_damaged_file_of_statements_means_to_ask_again(consents: Consents, tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(b"a face")
    for content in (b"", b"[]", b"{", b"\xff"):
        (tmp_path / "user").mkdir(exist_ok=True)
        (tmp_path / "user" / "consent.json").write_bytes(content)
        assert consents.of(tmp_path / "face.png") is None
    consents.remember(tmp_path / "face.png", "licence")
    assert consents.of(tmp_path / "face.png") == "licence"


def test_statements_are_short_texts() -> None:
    texts = [statement(value, " of\n1 May ") for value, *_ in CHOICES]
    assert texts == [
        "of 1 May",
        "own face: of 1 May",
        "permission given: of 1 May",
        "licence: of 1 May",
        "synthetic person: of 1 May",
    ]
