"""Stills of film and rendering: the values that Blender shows."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media import stills
from model_server.pipeline.media.containers import MediaInfo, probe
from model_server.pipeline.media.images import load_image
from model_server.pipeline.media.stills import still_format
from model_server.pipeline.media.video import open_footage
from tests.pipeline.film import colours, encoded, write_parts, write_still
from tests.pipeline.test_media import samples

LIGHT = colours()
PLAIN = 255 * LIGHT.astype(np.float64)
SHOWN = encoded(LIGHT)
EIGHT_BIT = np.rint(PLAIN).astype(np.uint8)


def error(path: Path, expected: np.ndarray) -> float:
    """Largest difference of a picture from what is expected, of 255; its size must be right."""
    picture = load_image(path)
    assert picture.shape == expected.shape and picture.dtype == np.uint8
    assert probe(path) == MediaInfo("image", Fraction(0), None, expected.shape[1], expected.shape[0], False)
    return float(np.abs(picture - expected).max())


@pytest.mark.parametrize("kind", ["half", "float"])
@pytest.mark.parametrize("packed", ["none", "rle", "zip", "zips", "piz", "pxr24", "b44", "dwaa", "dwab"])
def test_exr_is_light(tmp_path: Path, packed: str, kind: str) -> None:
    path = write_still(tmp_path / "render.exr", LIGHT, kind, compression=packed)
    assert error(path, SHOWN) < (5 if packed in ("b44", "dwaa", "dwab") else 1)


@pytest.mark.parametrize(("name", "kind", "limit"), [("sky.hdr", "float", 8), ("scan.dpx", "uint16", 2)])
def test_hdr_and_dpx_are_light(tmp_path: Path, name: str, kind: str, limit: float) -> None:
    assert error(write_still(tmp_path / name, LIGHT, kind), SHOWN) < limit


def test_ten_bits_of_a_film_scan(tmp_path: Path) -> None:
    path = write_still(tmp_path / "scan.dpx", LIGHT, "uint16", oiio__BitsPerSample=10, oiio__ColorSpace="KodakLog")
    assert error(path, SHOWN) < 3


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.tif", kind) for kind in ("float", "half", "double", "uint16", "uint8")]
    + [("a.tga", "uint8"), ("a.sgi", "uint8"), ("a.sgi", "uint16")],
)
def test_encoded_values_stay(tmp_path: Path, name: str, kind: str) -> None:
    assert error(write_still(tmp_path / name, LIGHT, kind), PLAIN) <= 1
    grey = np.repeat(PLAIN[..., :1], 3, axis=2)
    assert error(write_still(tmp_path / f"grey{name}", LIGHT[..., :1], kind), grey) <= 1


def test_light_above_white_and_what_is_no_number(tmp_path: Path) -> None:
    light = LIGHT * 4
    light[0, 0], light[0, 1], light[0, 2] = np.nan, np.inf, -1
    expected = encoded(np.nan_to_num(light, posinf=1))
    for name, kind in (("a.exr", "float"), ("a.exr", "half")):
        assert error(write_still(tmp_path / name, light, kind), expected) < 1


def test_picture_among_the_passes_of_a_render(tmp_path: Path) -> None:
    names = ("AO.R", "AO.G", "AO.B", "Combined.R", "Combined.G", "Combined.B", "Depth.Z")
    passes = np.concatenate([LIGHT / 9, LIGHT, LIGHT[..., :1] * 50], axis=2)
    layers = tuple(f"View Layer.{name}" for name in names)
    assert error(write_still(tmp_path / "layers.exr", passes, "half", layers), SHOWN) < 1
    plain = np.concatenate([LIGHT, LIGHT[..., :1] * 50], axis=2)
    assert error(write_still(tmp_path / "depth.exr", plain, "float", ("R", "G", "B", "Z")), SHOWN) < 1
    parts = [(LIGHT[..., :1] * 50, ("depth.Z",)), (LIGHT, ("beauty.R", "beauty.G", "beauty.B"))]
    assert error(write_parts(tmp_path / "parts.exr", parts, "half"), SHOWN) < 1


def test_cropped_render_is_what_was_rendered(tmp_path: Path) -> None:
    assert error(write_still(tmp_path / "crop.exr", LIGHT, "half", at=(40, -8)), SHOWN) < 1


def test_transparency_of_light_is_laid_over_grey(tmp_path: Path) -> None:
    alpha = np.full((64, 64, 1), 0.5, np.float32)
    alpha[:, :16], alpha[:, 48:] = 0, 1
    path = write_still(tmp_path / "cutout.exr", np.concatenate([LIGHT * alpha, alpha], axis=2), "float")
    assert error(path, SHOWN * alpha + 128 * (1 - alpha)) < 2.5


@pytest.mark.parametrize("name", ["a.tga", "a.tif", "a.sgi", "a.dds"])
def test_transparency_is_laid_over_grey(tmp_path: Path, name: str) -> None:
    rgba = np.dstack([EIGHT_BIT, np.full((64, 64), 128, np.uint8)])
    rgba[:, :16, 3], rgba[:, 48:, 3] = 0, 255
    alpha = rgba[..., 3:] / 255
    Image.fromarray(rgba).save(tmp_path / name)
    assert error(tmp_path / name, PLAIN * alpha + 128 * (1 - alpha)) < 2


def test_associated_alpha(tmp_path: Path) -> None:
    alpha = np.full((64, 64, 1), 0.5, np.float32)
    path = write_still(tmp_path / "a.tif", np.concatenate([LIGHT * alpha, alpha], axis=2), "uint16")
    assert error(path, PLAIN * alpha + 128 * (1 - alpha)) < 2.5


@pytest.mark.parametrize("packed", [None, "tga_rle"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
@pytest.mark.parametrize("orientation", [1, -1])
def test_targa(tmp_path: Path, mode: str, packed: str | None, orientation: int) -> None:
    picture = Image.fromarray(EIGHT_BIT).convert(mode)
    picture.save(tmp_path / "portrait.bin", "TGA", compression=packed, orientation=orientation)
    assert error(tmp_path / "portrait.bin", np.asarray(picture.convert("RGB")).astype(float)) == 0


def test_targa_whose_alpha_was_left_empty(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([EIGHT_BIT, np.zeros((64, 64), np.uint8)])).save(tmp_path / "a.tga")
    assert error(tmp_path / "a.tga", EIGHT_BIT.astype(float)) == 0


def test_nothing_else_is_taken_for_targa(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for data in samples(tmp_path):
        (tmp_path / "file").write_bytes(data)
        assert still_format(tmp_path / "file") in (None, "PNG")
    for _ in range(2000):
        (tmp_path / "file").write_bytes(random.integers(0, 256, 4000, np.uint8).tobytes())
        assert still_format(tmp_path / "file") is None


@pytest.mark.parametrize("name", ["a.jp2", "a.j2k"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "YCbCr"])
def test_jpeg_2000(tmp_path: Path, name: str, mode: str) -> None:
    if mode == "YCbCr" and name == "a.j2k":
        pytest.skip("a code stream alone does not state its colours")
    picture = Image.fromarray(EIGHT_BIT).convert(mode)
    picture.save(tmp_path / name)
    assert error(tmp_path / name, np.asarray(picture.convert("RGB")).astype(float)) <= (3 if mode == "YCbCr" else 1)


def test_jpeg_2000_of_16_bits(tmp_path: Path) -> None:
    """Its brightest values are white."""
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "deep.jp2")
    assert error(tmp_path / "deep.jp2", np.repeat(values[..., None] / 257, 3, axis=2)) <= 1.5


@pytest.mark.parametrize("depth", [8, 16])
def test_photoshop_file(tmp_path: Path, depth: int) -> None:
    samples_of_channels = np.moveaxis(EIGHT_BIT.astype(np.uint16) * (257 if depth == 16 else 1), 2, 0)
    data = samples_of_channels.astype(">u2" if depth == 16 else "u1").tobytes()
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 64, 64, depth, 3) + bytes(14)
    (tmp_path / "a.psd").write_bytes(header + data)
    assert error(tmp_path / "a.psd", EIGHT_BIT.astype(float)) == 0


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_tiff_is_upright(tmp_path: Path, orientation: int) -> None:
    path = write_still(tmp_path / "a.tif", LIGHT[:40], "float", Orientation=orientation)
    assert error(path, np.rot90(PLAIN[:40], {3: 2, 6: 3, 8: 1}[orientation])) <= 1


@pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.dpx", "a.tif", "a.tga", "a.sgi"])
def test_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    path = write_still(tmp_path / name, LIGHT, "float")
    before = load_image(path)
    for other in ("what.exr", "frame.png", "face", "face.tga", "a?b=c.hdr", "face.jp2"):
        assert np.array_equal(load_image(path.replace(tmp_path / other)), before)
        path = tmp_path / other


@pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.dpx", "a.tif", "a.tga", "a.sgi", "a.psd", "a.jp2", "a.dds"])
def test_damage_is_one_sentence(tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(9)
    light = random.random((64, 64, 3), np.float32)
    if name in ("a.psd", "a.jp2", "a.dds"):
        picture = Image.fromarray((light * 255).astype(np.uint8))
        picture.save(tmp_path / name, "JPEG2000" if name == "a.jp2" else "DDS" if name == "a.dds" else "TIFF")
        whole = (tmp_path / name).read_bytes()
    else:
        whole = write_still(tmp_path / name, light, "float" if name != "a.sgi" else "uint8").read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        for place in random.integers(0, min(len(data), 2000), random.integers(1, 20)):
            data[place] = random.integers(256)
        (tmp_path / name).write_bytes(data[: random.integers(1, len(data))])
        for read in (load_image, open_footage, probe):
            try:
                read(tmp_path / name)
            except PoseDubError as problem:
                assert name in problem.message and problem.message.count(". ") == 0


@pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.dpx", "a.tif", "a.tga", "a.jp2"])
def test_larger_than_the_limit_is_refused_undecoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name == "a.jp2":
        Image.fromarray(EIGHT_BIT).save(tmp_path / name)
    else:
        write_still(tmp_path / name, LIGHT, "float")
    monkeypatch.setattr(stills, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    with pytest.raises(PoseDubError, match="64 megapixels") as caught:
        load_image(tmp_path / name)
    assert caught.value.kind is ErrorKind.TOO_LARGE


def test_render_without_a_picture(tmp_path: Path) -> None:
    path = write_still(tmp_path / "depth.exr", LIGHT[..., :1], "float", ("Z",))
    with pytest.raises(PoseDubError, match="picture depth.exr is damaged or of an unusual kind"):
        load_image(path)
