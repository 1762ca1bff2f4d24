"""The showcase's movie and sheet, from two portraits."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.demo.sheet import EDGE, LINE, make_grid
from tests.demo.showcase import INPUTS, main

FRAMES = 6


@pytest.fixture(scope="module")
def showcase(tmp_path_factory: pytest.TempPathFactory, untrained_weights: Path) -> Path:
    """A showcase of two portraits, 0.24 s long."""
    folder = tmp_path_factory.mktemp("showcase")
    (folder / "portraits").mkdir()
    for name in ("01.jpg", "02.jpg"):
        shutil.copy(INPUTS / "stock" / name, folder / "portraits")
    (folder / "portraits" / "notes.txt").write_text("no picture")
    options = ["--portraits", folder / "portraits", "--seconds", "0.24", "--weights", untrained_weights]
    assert main(["--out", str(folder), *map(str, options)]) == 0
    return folder


def test_the_movie_shows_all_portraits_and_has_the_sound(showcase: Path) -> None:
    with av.open(str(showcase / "showcase.mp4")) as movie:
        assert "untrained" in movie.metadata["title"]
        video = movie.streams.video[0]
        assert (video.codec.name, video.pix_fmt, video.average_rate) == ("h264", "yuv420p", 25)
        pictures = [frame.to_ndarray(format="rgb24") for frame in movie.decode(video)]
    assert len(pictures) == FRAMES and pictures[0].shape == (EDGE + LINE + 224 + EDGE, EDGE + 2 * (224 + EDGE), 3)
    made = np.asarray(Image.open(showcase / "frames" / "02.jpg" / f"{FRAMES - 1:06}.png")).astype(int)
    shown = pictures[-1][EDGE + LINE :, 2 * EDGE + 224 :][:224, :224]
    assert np.abs(shown - made).mean() < 6
    with av.open(str(showcase / "showcase.mp4")) as movie:
        sound = np.concatenate([block.to_ndarray()[0] for block in movie.decode(audio=0)])
    assert np.abs(sound).max() > 0.01


def test_the_sheet_has_a_row_for_each_portrait_and_one_for_the_pose_source(showcase: Path) -> None:
    dark = np.zeros((4, 4, 3), np.uint8)
    with Image.open(showcase / "showcase.jpg") as sheet:
        assert sheet.size == make_grid([[dark] * 7] * 3, "", ["below"]).size


def test_a_folder_without_portraits_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "out"), "--portraits", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"showcase: There is no picture in {tmp_path}; choose a folder of portraits.\n"
