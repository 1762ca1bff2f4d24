"""`posedub dub --into` where the footage states no frame rate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.cli.commands import posedub
from tests.clips import hero, noisy
from tests.conftest import speechlike, write_wav
from tests.pipeline.conftest import paste, scene
from tests.pipeline.makers import browser_recording

RECORDED = [0, 49, 73, 119, 154, 206, 245, 286, 323, 357, 394, 446, 471, 523]
SLIDES = [0, 3000, 6000]


@pytest.mark.parametrize("milliseconds", [RECORDED, SLIDES], ids=["a browser's recording", "a slide show"])
def test_it_is_measured(tmp_path: Path, milliseconds: list[int]) -> None:
    picture = scene(320, 180)
    paste(picture, hero(), (160, 90), 0.35)
    pictures = [noisy(picture, k) for k in range(len(milliseconds))]
    film = browser_recording(tmp_path / "film.webm", pictures, milliseconds)
    sound = write_wav(tmp_path / "speech.wav", speechlike(0.4))
    options = ["--into", film, "--audio", sound, "--data", tmp_path / "data", "--out", tmp_path / "dub.mp4"]
    done = posedub("dub", *options)
    assert "10 frames at 25 fps" in done.stdout
    with av.open(str(tmp_path / "dub.mp4")) as movie:
        assert movie.streams.video[0].average_rate == Fraction(25)
        assert sum(1 for _ in movie.decode(video=0)) == 10


def test_a_rate_out_of_range_is_said_without_a_scene(media: Path, tmp_path: Path) -> None:
    sources = ["--portrait", media / "portrait.png", "--audio", media / "speech.wav"]
    done = posedub("dub", *sources, "--fps", "500", "--out", tmp_path / "out", check=False)
    assert "frame rate 500 is outside 1 to 240" in done.stderr and "scene" not in done.stderr
