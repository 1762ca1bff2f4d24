"""Photos of telephones, HEIC and AVIF: whole and upright, though the file holds tiles that lie on their side."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media import hdr, stills
from model_server.pipeline.media.containers import MediaInfo, probe
from model_server.pipeline.media.images import load_image
from model_server.pipeline.media.stills import is_image
from model_server.pipeline.media.video import open_footage, picture_at

RED, GREEN, BLUE, YELLOW = (220, 40, 30), (40, 200, 60), (30, 60, 210), (230, 220, 90)
# `avifenc --grid 3x2 --irot 1` of RED GREEN above BLUE YELLOW, 192x128: shown turned to the left, 128x192.
TILES = Path(__file__).parents[1] / "fixtures" / "pictures" / "tiles.avif"


@pytest.fixture(autouse=True, scope="module")
def heif() -> None:
    pillow_heif.register_heif_opener()


def quarters(width: int, height: int) -> NDArray[np.uint8]:
    """RED and GREEN above BLUE and YELLOW."""
    picture = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    picture[:top, :left], picture[:top, left:], picture[top:, :left], picture[top:, left:] = RED, GREEN, BLUE, YELLOW
    return picture


def corners(picture: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """The colours in the middle of the quarters, row by row."""
    height, width = picture.shape[:2]
    return [tuple(picture[height * y // 4, width * x // 4].tolist()) for y in (1, 3) for x in (1, 3)]


def photo(path: Path, orientation: int = 1, tile: int = 256, **options: object) -> Path:
    """1000x600 pixels as a camera stores them, in tiles, to be shown in an orientation."""
    picture = Image.fromarray(quarters(1000, 600))
    picture.getexif()[0x0112] = orientation
    picture.save(path, "HEIF", quality=90, tile_size=tile, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_whole_and_upright(tmp_path: Path, orientation: int) -> None:
    path = photo(tmp_path / "IMG_0001.HEIC", orientation)
    stored = Image.fromarray(quarters(1000, 600))
    stored.getexif()[0x0112] = orientation
    shown = np.asarray(ImageOps.exif_transpose(stored)).astype(int)
    picture = load_image(path)
    assert picture.shape == shown.shape
    assert np.abs(picture - shown).mean() < 3
    assert probe(path) == MediaInfo("image", Fraction(0), None, shown.shape[1], shown.shape[0], has_audio=False)


@pytest.mark.parametrize("tile", [0, 128, 512])
def test_tiles_of_any_size(tmp_path: Path, tile: int) -> None:
    path = photo(tmp_path / "photo.dat", tile=tile)
    assert load_image(path).shape == (600, 1000, 3)
    assert np.abs(np.subtract(corners(picture_at(path, Fraction(3))), (RED, GREEN, BLUE, YELLOW))).max() <= 4
    assert (open_footage(path).times, open_footage(path).duration) == ([0], 0)


def test_ten_bits(tmp_path: Path) -> None:
    deep = quarters(1000, 600).astype(np.uint16) * 257
    path = tmp_path / "deep.hif"
    pillow_heif.from_bytes("RGB;16", (1000, 600), deep.tobytes()).save(path, quality=90, tile_size=256)
    assert np.abs(np.subtract(corners(load_image(path)), (RED, GREEN, BLUE, YELLOW))).max() <= 4


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_high_dynamic_range_is_brought_to_sdr(tmp_path: Path, transfer: int) -> None:
    wanted = np.array((RED, GREEN, BLUE, YELLOW))
    codes = hdr.to_hdr(quarters(1000, 600) / 255, transfer)
    path, deep = tmp_path / "deep.hif", np.rint(codes * 65535).astype(np.uint16)
    meant = {"color_primaries": 9, "transfer_characteristics": transfer, "matrix_coefficients": 9}
    pillow_heif.from_bytes("RGB;16", (1000, 600), deep.tobytes()).save(path, quality=95, tile_size=256, **meant)
    assert np.abs(np.subtract(corners(load_image(path)), wanted)).max() <= 6


@pytest.mark.parametrize("viewer", ["player", "blender"])
def test_photos_are_upright_whoever_looks(tmp_path: Path, viewer: str) -> None:
    """Blender itself shows none of them."""
    assert open_footage(TILES, viewer).frame_at(Fraction(0)).shape == (192, 128, 3)
    assert open_footage(photo(tmp_path / "photo.heic", 6), viewer).frame_at(Fraction(0)).shape == (1000, 600, 3)


@pytest.mark.parametrize("brand", [b"avif", b"mif1"])
def test_avif_in_tiles(tmp_path: Path, brand: bytes) -> None:
    data = TILES.read_bytes()
    path = tmp_path / "tiles"
    path.write_bytes(data[:8] + brand + data[12:])
    picture = load_image(path)
    assert picture.shape == (192, 128, 3)
    assert np.abs(np.subtract(corners(picture), (GREEN, YELLOW, RED, BLUE))).max() <= 6
    assert (probe(path).width, probe(path).height) == (128, 192)


def test_general_brand_of_heic(tmp_path: Path) -> None:
    data = photo(tmp_path / "photo.heic", 6).read_bytes()
    (tmp_path / "general.heif").write_bytes(data[:8] + b"mif1" + data[12:])
    assert load_image(tmp_path / "general.heif").shape == (1000, 600, 3)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_damaged_photo_is_no_movie_of_its_tiles(tmp_path: Path, share: float) -> None:
    data = photo(tmp_path / "photo.heic").read_bytes()
    path = tmp_path / "cut.heic"
    path.write_bytes(data[: round(share * len(data))])
    assert is_image(path)
    for read in (load_image, open_footage, probe) if share < 0.5 else (load_image,):
        with pytest.raises(PoseDubError, match="picture cut.heic is damaged") as caught:
            read(path)
        assert caught.value.kind is ErrorKind.CORRUPT


def test_larger_than_the_limit_is_refused_undecoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = photo(tmp_path / "photo.heic")
    monkeypatch.setattr(stills, "MAX_IMAGE_PIXELS", 1000 * 600 - 1)
    for read in (load_image, probe):
        with pytest.raises(PoseDubError, match="64 megapixels") as caught:
            read(path)
        assert caught.value.kind is ErrorKind.TOO_LARGE
