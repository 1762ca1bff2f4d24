"""The portrait's crop, from pictures and movies."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model_server.errors import PoseDubError
from model_server.pipeline.faces.alignment import network_view
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.portrait import portrait_views
from model_server.pipeline.request import FaceSelection, Portrait
from tests.pipeline.conftest import INPUTS, paste, scene
from tests.pipeline.makers import counter_picture, write_movie

ALIGNED = FaceSelection("aligned")


def save(path: Path, picture: NDArray[np.uint8]) -> Path:
    """Write a PNG."""
    Image.fromarray(picture).save(path)
    return path


def portrait_crop(path: Path, portrait: Portrait, finder: Callable[[], FaceFinder]) -> NDArray[np.uint8]:
    """What the encoders see."""
    return portrait_views(path, portrait, 224, finder).seen


def unused() -> FaceFinder:
    """Stands for a finder that must not be made."""
    raise AssertionError("an aligned crop needs no face finder")


def test_transparency_is_noticed_where_there_is_any(tmp_path: Path) -> None:
    picture = np.full((224, 224, 4), 255, np.uint8)
    opaque = portrait_views(save(tmp_path / "opaque.png", picture), Portrait("", face=ALIGNED), 224, unused)
    picture[:50, :50, 3] = 0
    cut = portrait_views(save(tmp_path / "cut.png", picture), Portrait("", face=ALIGNED), 224, unused)
    assert (opaque.transparent, cut.transparent) == (False, True)
    assert cut.drawn[20, 20].tolist() == [128] * 3 and opaque.drawn[20, 20].tolist() == [255] * 3


@pytest.mark.parametrize("roll", [25, 90, 135, 180, 225, 300])
def test_face_lands_in_the_same_place_from_any_picture(
    finder: FaceFinder, head: NDArray[np.uint8], tmp_path: Path, roll: float
) -> None:
    picture = scene(1920, 1080)
    paste(picture, head, (1300, 500), 0.7, roll)
    free = portrait_crop(save(tmp_path / "free.png", picture), Portrait(""), lambda: finder)
    close = portrait_crop(INPUTS / "portrait.png", Portrait(""), lambda: finder)
    assert free.shape == close.shape == (224, 224, 3)
    face = np.s_[30:180, 60:165]
    assert np.abs(free[face].astype(int) - close[face]).mean() < 8
    (seen,) = finder.find(close)
    expected = (np.array([[87, 59], [137, 59], [112, 120]]) - (16, 0) + 0.5) * 224 / 192 - 0.5
    assert np.abs(seen.points - expected).max() < 8


def test_chosen_face(finder: FaceFinder, head: NDArray[np.uint8], tmp_path: Path) -> None:
    picture = scene(1280, 720)
    paste(picture, head, (350, 360), 0.9)
    paste(picture, 255 - head // 3, (950, 360), 0.9)
    paste(picture, head[:, ::-1] // 2, (950, 360), 0.7)
    path = save(tmp_path / "two.png", picture)
    bright = portrait_crop(path, Portrait(""), lambda: finder)
    dark = portrait_crop(path, Portrait("", FaceSelection(at=(0.75, 0.5))), lambda: finder)
    assert dark[60:160, 60:160].mean() < 0.7 * bright[60:160, 60:160].mean()


def test_no_face(finder: FaceFinder, tmp_path: Path) -> None:
    path = save(tmp_path / "meadow.png", scene(800, 600))
    with pytest.raises(PoseDubError, match="No face was found in meadow.png; choose"):
        portrait_crop(path, Portrait(""), lambda: finder)


def test_aligned_crop_is_taken_as_it_is(tmp_path: Path) -> None:
    crop = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
    taken = portrait_crop(save(tmp_path / "crop.png", crop), Portrait("", ALIGNED), unused)
    assert np.array_equal(taken, network_view(crop))


def test_aligned_crop_of_another_size(head: NDArray[np.uint8], tmp_path: Path) -> None:
    small = np.array(Image.fromarray(head).resize((224, 224), Image.Resampling.BOX))
    taken = portrait_crop(save(tmp_path / "crop.png", head), Portrait("", ALIGNED), unused)
    assert np.abs(taken.astype(int) - network_view(small)).mean() < 2


@pytest.mark.parametrize("size", [224, 448, 512])
def test_the_drawn_view_shows_the_same_as_the_seen_one(finder: FaceFinder, size: int) -> None:
    views = portrait_views(INPUTS / "portrait.png", Portrait(""), size, lambda: finder)
    assert views.drawn.shape == (size, size, 3)
    small = np.asarray(Image.fromarray(views.drawn).resize((224, 224), Image.Resampling.BOX)).astype(int)
    errors = [np.abs(np.roll(small, shift, (0, 1)) - views.seen).mean() for shift in ((0, 0), (0, 1), (1, 0))]
    assert errors[0] < 2 and errors[0] < 0.7 * min(errors[1:])


def test_a_larger_view_has_more_detail(finder: FaceFinder) -> None:
    views = portrait_views(INPUTS / "portrait.png", Portrait(""), 448, lambda: finder)
    enlarged = np.asarray(Image.fromarray(views.seen).resize((448, 448), Image.Resampling.BICUBIC))
    detail = [np.abs(np.diff(picture.astype(int), 2, axis=0)).mean() for picture in (views.drawn, enlarged)]
    assert detail[0] > 1.2 * detail[1]


def test_an_aligned_crop_is_drawn_to_its_edge(tmp_path: Path) -> None:
    path = save(tmp_path / "crop.png", np.full((224, 224, 3), 200, np.uint8))
    drawn = portrait_views(path, Portrait("", ALIGNED), 512, unused).drawn
    assert drawn.shape == (512, 512, 3) and drawn.min() == drawn.max() == 200


def test_aligned_refuses_a_wide_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "wide.png", scene(640, 360))
    with pytest.raises(PoseDubError, match="wide.png is 640x360"):
        portrait_crop(path, Portrait("", ALIGNED), unused)


def test_moment_of_a_movie(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "movie.mp4", [counter_picture(k, 224, 224) for k in range(30)])
    taken = portrait_crop(path, Portrait("", ALIGNED, Fraction(1, 2)), unused)
    assert abs(float(taken.mean()) - counter_picture(12).mean()) < 2
