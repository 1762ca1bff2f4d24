"""Footage in which the person comes into sight only later is dubbed all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.cli.main import main
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.media.video import open_footage
from tests.clips import hero, noisy
from tests.conftest import speechlike, write_wav
from tests.pipeline.conftest import paste, scene
from tests.pipeline.makers import write_movie

Picture = NDArray[np.uint8]
BEFORE, FADE, AFTER = 8, 4, 6


def head() -> Picture:
    picture = scene(480, 270)
    paste(picture, hero(), (240, 140), 0.6)
    return picture


def beginnings() -> dict[str, list[Picture]]:
    """Pictures before the head: black and a fade, and a title."""
    title = np.zeros((270, 480, 3), np.uint8)
    title[100:130:6, 100:380:20] = 255
    fade = [(head() * (k / FADE)).astype(np.uint8) for k in range(FADE)]
    return {"fade": [np.zeros_like(title)] * BEFORE + fade, "title": [title] * (BEFORE + FADE)}


def dubbed(folder: Path, pictures: list[Picture], *options: object) -> tuple[list[Picture], list[Picture]]:
    """Frames of the dub, and the footage's."""
    footage = write_movie(folder / "late.mp4", [noisy(p, k) for k, p in enumerate(pictures)], options={"crf": "14"})
    sound = write_wav(folder / "speech.wav", speechlike(len(pictures) / 25))
    given = ["--into", footage, "--audio", sound, "--data", folder / "data", "--out", folder / "out", *options]
    assert main(["dub", *map(str, given)]) == 0
    frames = [decode_png(path.read_bytes()) for path in sorted((folder / "out").glob("*.png"))]
    return frames, [picture for _, picture in open_footage(footage).iter_frames(range(len(pictures)))]


@pytest.mark.parametrize("beginning", ["fade", "title"])
def test_the_first_picture_with_the_face_is_the_portrait(tmp_path: Path, beginning: str) -> None:
    frames, sources = dubbed(tmp_path, beginnings()[beginning] + [head()] * AFTER)
    assert len(frames) == len(sources) == BEFORE + FADE + AFTER
    assert all(np.array_equal(*pair) for pair in zip(frames[:BEFORE], sources[:BEFORE], strict=True))
    face = np.s_[110:190, 205:275]
    last, source = frames[-1][face].astype(int), sources[-1][face].astype(int)
    assert not np.array_equal(last, source)
    assert np.abs(last - source).mean() < 20  # the very person


def test_nobody_at_all_is_still_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    footage = write_movie(tmp_path / "meadow.mp4", [scene(320, 180)] * 5)
    sound = write_wav(tmp_path / "speech.wav", speechlike(0.2))
    assert main(["dub", "--into", str(footage), "--audio", str(sound), "--out", str(tmp_path / "out")]) == 1
    assert "No face was found in meadow.mp4; choose another one" in capsys.readouterr().err
