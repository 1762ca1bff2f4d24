"""Where several people are seen and none is named, the largest face is taken, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.cli.commands import posedub
from tests.cli.test_into import warnings
from tests.clips import hero, other, two_people
from tests.conftest import speechlike, write_wav
from tests.pipeline.conftest import paste, scene


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "speech.wav", speechlike(0.2))


def two_in_a_picture(folder: Path) -> Path:
    """A picture of a person and a nearer one, further right."""
    picture = scene(900, 400)
    paste(picture, hero(), (240, 200), 0.5)
    paste(picture, other(), (640, 200), 0.8)
    Image.fromarray(picture).save(folder / "two.png")
    return folder / "two.png"


def test_two_faces_in_a_portrait(tmp_path: Path, sound: Path) -> None:
    options = [
        "--portrait",
        two_in_a_picture(tmp_path),
        "--audio",
        sound,
        "--range",
        "0:1",
        "--data",
        tmp_path / "data",
    ]
    unnamed = posedub("dub", *options, "--out", tmp_path / "unnamed")
    (line,) = warnings(unnamed.stderr)
    said = "2 faces are seen in the portrait; the larger one is taken: name another one with --face X,Y."
    assert line == f"warning: {said}"
    named = posedub("dub", *options, "--face", "0.7,0.5", "--out", tmp_path / "named")
    assert warnings(named.stderr) == []
    assert all("%|" in line for line in named.stderr.replace("\r", "\n").splitlines() if line.strip())
    taken, larger = ((tmp_path / name / "000000.png").read_bytes() for name in ("unnamed", "named"))
    assert taken == larger


def test_two_faces_in_footage(tmp_path: Path, sound: Path) -> None:
    options = ["--into", two_people(tmp_path), "--audio", sound, "--data", tmp_path / "data"]
    unnamed = posedub("dub", *options, "--out", tmp_path / "unnamed")
    (line,) = warnings(unnamed.stderr)
    assert "2 faces are seen in the footage; the larger one is taken: name another one with --face X,Y." in line
