"""Stills with ICC profiles have the colours that browsers show; under overlays those that Blender shows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model_server.pipeline.media.images import load_image
from model_server.pipeline.media.video import open_footage, picture_at
from tests.pipeline.conftest import INPUTS
from tests.pipeline.icc import ADOBE_RGB, DISPLAY_P3, SPACES, Space, profile, values

SKIN = (224, 172, 140)


def photo(path: Path, space: Space, mode: str = "RGB") -> Path:
    """A plain skin colour as the values of a colour space, tagged with its profile."""
    pixels = np.full((32, 32, 3), values(space, SKIN), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, icc_profile=profile(space), quality=95, subsampling=0)
    return path


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", ["face.png", "face.jpg", "face.tif", "face.webp"])
def test_portraits_have_the_colours_meant(tmp_path: Path, space: Space, name: str) -> None:
    path = photo(tmp_path / name, space)
    with Image.open(path) as stored:
        assert np.abs(np.asarray(stored.convert("RGB"))[0, 0].astype(int) - SKIN).max() > 6
    assert far(load_image(path), SKIN) <= 3
    for viewer in ("player", "blender"):
        assert far(picture_at(path, Fraction(0), viewer), SKIN) <= 3


def test_footage_in_blender_is_as_blender_shows_it(tmp_path: Path) -> None:
    path = photo(tmp_path / "face.png", DISPLAY_P3)
    assert far(open_footage(path, "blender").frame_at(Fraction(0)), values(DISPLAY_P3, SKIN)) == 0
    assert far(open_footage(path, "player").frame_at(Fraction(0)), SKIN) <= 2


def test_transparency_and_orientation_stay(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((10, 20, 4), np.uint8)
    pixels[:, 10:] = (*values(ADOBE_RGB, SKIN), 255)
    Image.fromarray(pixels).save(tmp_path / "cut.png", icc_profile=profile(ADOBE_RGB), exif=exif)
    picture = load_image(tmp_path / "cut.png")
    assert picture.shape == (20, 10, 3)
    assert far(picture[:10], (128, 128, 128)) == 0 and far(picture[10:], SKIN) <= 2


@pytest.mark.parametrize("broken", [b"no profile", profile(DISPLAY_P3)[:150]])
def test_a_damaged_profile_changes_nothing(tmp_path: Path, broken: bytes) -> None:
    with Image.open(INPUTS / "portrait.png") as picture:
        plain = picture.convert("RGB")
    plain.save(tmp_path / "face.png", icc_profile=broken)
    assert np.array_equal(load_image(tmp_path / "face.png"), np.asarray(plain))


def test_a_profile_of_other_channels_changes_nothing(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "grey.png", icc_profile=profile(DISPLAY_P3))
    assert np.array_equal(load_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, axis=2))


def far(picture: NDArray[np.uint8], colour: tuple[int, ...]) -> int:
    """The largest difference from a colour."""
    return int(np.abs(picture.astype(int) - np.array(colour)).max())
