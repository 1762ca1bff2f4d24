"""Media are decoded in the processes of the sandbox alone."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server.cli.dub import _footage_rate
from model_server.errors import PoseDubError
from model_server.pipeline.media import containers, sandboxed
from tests.conftest import drawn_head, write_movie

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    path = tmp_path / "footage.mp4"
    write_movie(path, [drawn_head(0.0, 64)] * 5, Fraction(30))
    return path


def test_what_a_file_is_and_its_rate_are_found_there(
    movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = tmp_path / "still.png"
    Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save(still)
    expected = [containers.probe(path) for path in (movie, still)]

    def decoded_here(*_arguments: object) -> None:
        raise AssertionError("decoded in this process")

    for name in ("open_media", "open_image"):
        monkeypatch.setattr(containers, name, decoded_here)
    assert [sandboxed.probe(path) for path in (movie, still)] == expected
    assert _footage_rate(movie) == 30


def test_what_is_no_media_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no movie")
    with pytest.raises(PoseDubError, match=r"text\.mp4 .*\.$"):
        sandboxed.probe(tmp_path / "text.mp4")
