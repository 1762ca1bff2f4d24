"""Pictures have the colours, the orientation and the shape that players, or Blender, show."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server.pipeline.media import hdr
from model_server.pipeline.media.video import open_footage, picture_at

from .tagged import BARS, ORIENTATIONS, Tags, bars, oriented, patches, write_tagged

FIRST = Fraction(0)
HD, SD = (1280, 720), (640, 360)
PQ = Tags(9, bits=10, primaries=9, transfer=hdr.PQ)
HLG = Tags(9, bits=10, primaries=9, transfer=hdr.HLG)
KINDS = {
    "BT.709 HD": (HD, Tags()),
    "BT.601 SD": (SD, Tags(6, primaries=6, transfer=6)),
    "BT.601 SD of 625 lines": ((720, 576), Tags(5, primaries=5, transfer=6)),
    "BT.601 HD": (HD, Tags(6, primaries=6, transfer=6)),
    "BT.709 SD": (SD, Tags()),
    "full range": (HD, Tags(full=True)),
    "full range of BT.601": (SD, Tags(6, full=True, primaries=6, transfer=6)),
    "10 bit": (HD, Tags(bits=10)),
    "10 bit full range": (HD, Tags(bits=10, full=True)),
    "4:2:2": (HD, Tags(bits=10, chroma="422")),
    "4:4:4": (HD, Tags(chroma="444")),
    "BT.2020 SDR": (HD, Tags(9, bits=10, primaries=9, transfer=14)),
}
# FFmpeg's quick conversion misses the exact colour by up to 3, that from 10 bits by up to 4.
QUICK = 4


@pytest.mark.parametrize("kind", KINDS)
def test_colours_are_read_as_the_file_states_them(tmp_path: Path, kind: str) -> None:
    size, tags = KINDS[kind]
    path = write_tagged(tmp_path / "movie.mp4", [bars(*size)], tags)
    for viewer in ("player", "blender"):
        assert np.abs(patches(picture_at(path, FIRST, viewer)) - BARS).max() <= QUICK


def test_hd_that_states_no_matrix_is_bt709_in_players_and_bt601_in_blender(tmp_path: Path) -> None:
    hd = write_tagged(tmp_path / "hd.mp4", [bars(*HD)], Tags(1, stated=False))
    sd = write_tagged(tmp_path / "sd.mp4", [bars(*SD)], Tags(6, stated=False))
    assert np.abs(patches(picture_at(hd, FIRST)) - BARS).max() <= QUICK
    assert np.abs(patches(picture_at(hd, FIRST, "blender")) - BARS).max() > 10
    for viewer in ("player", "blender"):
        assert np.abs(patches(picture_at(sd, FIRST, viewer)) - BARS).max() <= QUICK


def shown(picture: np.ndarray, orientation: str) -> np.ndarray:
    """A picture under a display matrix: (x, y) goes to (a x + c y, b x + d y)."""
    a, b, c, d = ORIENTATIONS[orientation]
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    to_x, to_y = a * x + c * y, b * x + d * y
    to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
    result = np.zeros((int(to_y.max()) + 1, int(to_x.max()) + 1, 3), picture.dtype)
    result[to_y, to_x] = picture
    return result


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_display_matrices_turn_and_mirror_as_players_do(tmp_path: Path, orientation: str) -> None:
    plain = write_tagged(tmp_path / "plain.mp4", [bars(64, 48)], Tags())
    path = oriented(plain, tmp_path / "turned.mp4", orientation)
    assert np.array_equal(picture_at(path, FIRST), shown(picture_at(plain, FIRST), orientation))


# Measured by rendering in Blender 4.5 and 5.0: it reads a matrix as a turn.
IN_BLENDER = {
    "left and right": "half",
    "up and down": "plain",
    "diagonal": "quarter",
    "other diagonal": "three quarters",
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_blender_turns_but_does_not_mirror(tmp_path: Path, orientation: str) -> None:
    plain = write_tagged(tmp_path / "plain.mp4", [bars(64, 48)], Tags())
    path = oriented(plain, tmp_path / "turned.mp4", orientation)
    expected = shown(picture_at(plain, FIRST), IN_BLENDER.get(orientation, orientation))
    assert np.array_equal(picture_at(path, FIRST, "blender"), expected)


def test_photos_lie_in_blender_as_they_are_stored(tmp_path: Path) -> None:
    picture = Image.fromarray(bars(64, 48))
    orientation = picture.getexif()
    orientation[0x0112] = 6
    picture.save(tmp_path / "photo.png", exif=orientation)
    assert picture_at(tmp_path / "photo.png", FIRST).shape == (64, 48, 3)
    assert np.array_equal(picture_at(tmp_path / "photo.png", FIRST, "blender"), bars(64, 48))


@pytest.mark.parametrize(
    ("size", "pixel", "orientation", "natural"),
    [
        ((360, 288), "64/45", "plain", (512, 288)),
        ((720, 480), "8/9", "plain", (640, 480)),
        ((1440, 1080), "4/3", "plain", (1920, 1080)),
        ((360, 288), "64/45", "quarter", (202, 360)),
        ((322, 180), "322/321", "plain", (322, 180)),
        ((64, 48), "100/1", "plain", (64, 48)),
    ],
)
def test_faces_are_seen_in_natural_proportions(
    tmp_path: Path, size: tuple[int, int], pixel: str, orientation: str, natural: tuple[int, int]
) -> None:
    plain = write_tagged(tmp_path / "plain.mp4", [bars(*size)], Tags(6), pixel=Fraction(pixel))
    footage = open_footage(oriented(plain, tmp_path / "movie.mp4", orientation))
    assert footage.frame_at(FIRST).shape == (natural[1], natural[0], 3)
    kept = size[::-1] if orientation == "quarter" else size
    assert footage.stored.frame_at(FIRST).shape == (kept[1], kept[0], 3)
    assert (footage.appearance.size, footage.appearance.natural_size) == (kept, natural)


@pytest.mark.parametrize("tags", [PQ, HLG], ids=["PQ", "HLG"])
def test_hdr_is_tone_mapped_to_what_an_sdr_camera_takes(tmp_path: Path, tags: Tags) -> None:
    graded = hdr.to_hdr(bars(*SD) / 255, tags.transfer)
    path = write_tagged(tmp_path / "hdr.mp4", [graded], tags)
    assert np.abs(patches(picture_at(path, FIRST)) - BARS).max() <= 4
    footage = open_footage(path, "blender")
    kept = footage.stored.frame_at(FIRST)
    assert np.abs(patches(kept) - patches(255 * graded)).max() <= 2 and abs((kept - 255 * graded).mean()) < 0.1
    assert np.abs(patches(footage.frame_at(FIRST)) - BARS).max() <= 4


def test_pq_is_rolled_off_as_bt2390_says() -> None:
    def sdr(light: float) -> float:
        """SDR luminance, white 1, of a grey in cd/m2."""
        power = (light / 10000) ** 0.1593017578125
        code = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
        return float(hdr.to_sdr(np.full(3, code), hdr.PQ)[0]) ** 2.4

    assert sdr(0) == 0 and sdr(1000) == pytest.approx(1, abs=1e-3)
    for light in (1, 20, 60, 90):  # below the knee nothing changes
        assert sdr(light) == pytest.approx(light / 203, rel=0.01)
    assert 0.7 < sdr(203) < 0.85 < sdr(400) < sdr(700) < 1


def test_hlgs_reference_levels_are_those_of_bt2408() -> None:
    """75 % is reference white, 203 cd/m2, and 38 % an 18 % grey card, 26 cd/m2."""
    white, grey = (float(hdr.to_sdr(np.full(3, level), hdr.HLG)[0]) ** 2.4 for level in (0.75, 0.38))
    assert 0.7 < white < 0.85 and grey * 203 == pytest.approx(26, abs=1)
