"""What a killed Blender leaves is told from what a living one uses, and tidied; errors that nobody foresaw."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from errno import ENOSPC
from pathlib import Path

import pytest

from blender_addon.core import scratch, sequences
from blender_addon.core.errors import unexpected
from blender_addon.core.files import discard_parts, write_atomic

ROOT = Path(__file__).resolve().parents[2]
MAKES = "from blender_addon.core import scratch; print(scratch.make_folder(), flush=True); input()"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, for this process and those it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_folders_of_ended_processes_go_and_others_stay(temporary: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", MAKES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    theirs, own = Path(other.stdout.readline().strip()), scratch.make_folder()
    (theirs / "speech.wav").write_bytes(b"speech")
    foreign = temporary / own.name.replace(scratch._computer(), "0" * 8)
    for folder in (foreign, temporary / "posedub-blender-photos", temporary / "posedub-x"):
        folder.mkdir()
    scratch.tidy()
    assert theirs.is_dir() and own.is_dir()
    other.kill()
    other.wait()
    scratch.tidy()
    assert not theirs.exists() and own.is_dir() and foreign.is_dir()
    assert (temporary / "posedub-blender-photos").is_dir() and (temporary / "posedub-x").is_dir()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process's beginning is not known")
def test_a_later_process_of_the_same_number_is_another() -> None:
    own = scratch.make_folder()
    earlier = own.with_name(own.name.replace(f"-{os.getpid()}-{scratch.born(os.getpid())}-", f"-{os.getpid()}-1-"))
    earlier.mkdir()
    scratch.tidy()
    assert own.is_dir() and not earlier.exists()


def test_a_folder_for_a_moment() -> None:
    with scratch.folder() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()


def test_unfinished_files_of_long_ago_go(tmp_path: Path) -> None:
    write_atomic(tmp_path / "000001.png", b"frame")
    old, new = tmp_path / ".000002.png.part", tmp_path / ".000003.png.part"
    for part in (old, new, tmp_path / "movie.1f.part"):
        part.write_bytes(b"half")
    for part in (old, tmp_path / "movie.1f.part"):
        os.utime(part, (time.time() - 3600,) * 2)
    discard_parts(tmp_path)
    sequences.tidy(tmp_path, 600)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".000003.png.part", "000001.png"]


def test_what_the_computer_lacks_is_named() -> None:
    assert "memory of this computer is used up" in str(unexpected("The job stopped", MemoryError()))
    full = str(unexpected("The job stopped", OSError(ENOSPC, "No space left on device", "/dubs/x.png")))
    assert full.startswith("The job stopped: /dubs/x.png cannot be used (No space left on device).")
    assert "KeyError" in str(unexpected("The job stopped", KeyError("x")))
