"""Names for every file system, versions that never overwrite, atomic files."""

import hashlib
import threading

import pytest

from blender_addon.core.errors import AddonError
from blender_addon.core.files import sha256_of, write_atomic
from blender_addon.core.naming import MAX_NAME, frame_name, is_newer, next_version, safe_name, saved_end


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Anna", "Anna"),
        ("a/b\\c:d*e?", "a_b_c_d_e_"),
        ("  .hidden. ", "hidden"),
        ("..", "dub"),
        ("", "dub"),
        ("???", "dub"),
        ("CON", "_CON"),
        ("com1.png", "_com1.png"),
        ("lpt\u00b9", "_lpt\u00b9"),
        ("console", "console"),
        ("gen.001", "gen.001"),
        ("Mu\u0308ller", "M\u00fcller"),
        ("line\nbreak\x00", "line_break_"),
        ("a\u202eb", "ab"),
        ("\ud800x", "x"),
    ],
)
def test_safe_name(text, name):
    assert safe_name(text) == name


@pytest.mark.parametrize("text", ["x" * 300, "\u53e3" * 300, "\U0001f600" * 300, "a" * 59 + " . tail"])
def test_long_names_become_short_ones_that_can_be_made(tmp_path, text):
    name = safe_name(text)
    assert 0 < len(name) <= MAX_NAME and len(name.encode()) <= 180
    assert name == name.strip(" .")
    (tmp_path / name).mkdir()


def test_versions_count_up_and_are_never_reused(tmp_path):
    folder = tmp_path / "dubs" / "anna"
    assert [next_version(folder).name for _ in range(3)] == ["v001", "v002", "v003"]
    (folder / "v002").rmdir()
    (folder / "V010").mkdir()
    (folder / "v999x").mkdir()
    assert next_version(folder).name == "v011"


def test_versions_are_distinct_for_threads(tmp_path):
    made = []
    threads = [threading.Thread(target=lambda: made.append(next_version(tmp_path))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in made) == [f"v{number:03}" for number in range(1, 17)]


def test_versions_go_past_999(tmp_path):
    (tmp_path / "v999").mkdir()
    assert next_version(tmp_path).name == "v1000"


def test_saved_end_finds_the_first_gap(tmp_path):
    assert saved_end(tmp_path / "none", 5, 9) == 5
    for index in (5, 6, 8):
        write_atomic(tmp_path / frame_name(index), b"png")
    (tmp_path / frame_name(7)).touch()
    assert saved_end(tmp_path, 5, 9) == 7
    write_atomic(tmp_path / frame_name(7), b"png")
    assert saved_end(tmp_path, 5, 9) == 9
    assert frame_name(7) == "000007.png"


def test_atomic_write_replaces_and_leaves_nothing_beside(tmp_path):
    write_atomic(tmp_path / "a", b"old")
    write_atomic(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"new")]


def test_failed_write_is_a_sentence(tmp_path):
    with pytest.raises(AddonError, match="could not be written") as caught:
        write_atomic(tmp_path / "absent" / "a", b"")
    assert caught.value.hint


def test_hash_of_a_large_file(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / "big").write_bytes(data)
    steps = []
    assert sha256_of(tmp_path / "big", lambda: steps.append(1)) == (hashlib.sha256(data).hexdigest(), len(data))
    assert len(steps) == 3


def test_hash_can_be_stopped_and_reports_missing_files(tmp_path):
    (tmp_path / "some").write_bytes(b"x")
    with pytest.raises(ZeroDivisionError):
        sha256_of(tmp_path / "some", lambda: 1 / 0)
    with pytest.raises(AddonError, match="cannot be read"):
        sha256_of(tmp_path / "none")


def test_versions_are_compared_by_their_numbers() -> None:
    assert is_newer("v010", "v009")
    assert is_newer("v1000", "v999")
    assert not is_newer("v009", "v010")
    assert not is_newer("v009", "v009")
    assert not is_newer("", "v001")
