"""Stills become upright, opaque 8-bit RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media.images import load_image

RAMP = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_whatever_the_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.txt"
    Image.fromarray(RAMP).save(path, kind, lossless=True)
    assert np.array_equal(load_image(path), RAMP)


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_rotation(tmp_path: Path, orientation: int, quarter_turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "phone.png"
    Image.fromarray(RAMP).save(path, exif=exif)
    assert np.array_equal(load_image(path), np.rot90(RAMP, quarter_turns))


@pytest.mark.parametrize("orientation", [1, 6])
def test_16_bit_grey_is_scaled(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.array([[0, 257, 32896], [65535, 256, 513]], np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path, exif=exif)
    expected = np.repeat((values // 257).astype(np.uint8)[..., None], 3, axis=2)
    assert np.array_equal(load_image(path), np.rot90(expected, 3 if orientation == 6 else 0))


def test_transparency_shows_grey_and_not_the_hidden_colour(tmp_path: Path) -> None:
    path = tmp_path / "cutout.png"
    pixels = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [0, 0, 0, 128]]], np.uint8)
    Image.fromarray(pixels).save(path)
    hidden, seen, half = load_image(path)[0].astype(int)
    assert hidden.tolist() == [128, 128, 128]
    assert seen.tolist() == [255, 0, 0]
    assert np.abs(half - 64).max() <= 1


def test_animation_shows_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "moving.webp"
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (40, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert np.unique(load_image(path)).tolist() == [40]


def test_palette_and_cmyk(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((8, 8, 3), 128, np.uint8))
    for picture, name in ((grey.quantize(4), "palette.png"), (grey.convert("CMYK"), "print.tif")):
        picture.save(tmp_path / name)
        assert np.abs(load_image(tmp_path / name).astype(int) - 128).max() <= 3


def test_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "portrait.png"
    path.write_text("no picture")
    with pytest.raises(PoseDubError, match="portrait.png is not a picture"):
        load_image(path)


def test_cut_off_picture(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(whole)
    path = tmp_path / "cut.png"
    path.write_bytes(whole.read_bytes()[:20000])
    with pytest.raises(PoseDubError, match="cut.png is damaged") as caught:
        load_image(path)
    assert caught.value.kind is ErrorKind.CORRUPT
