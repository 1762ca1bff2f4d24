"""The invisible pattern: nobody sees it, video coding and scaling leave it, and it is not found where it is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from model_server.pipeline.compositing.presence_mark import TILE, imprinted, pattern
from model_server.pipeline.media.images import load_image
from model_server.provenance.presence import FOUND, look_into, presence
from tests.pipeline.conftest import INPUTS, scene
from tests.pipeline.makers import write_movie

Picture = np.ndarray
STOCK = sorted((INPUTS / "stock").glob("*.jpg"))


def portrait(index: int, size: int = 448) -> Picture:
    return cv2.resize(load_image(STOCK[index]), (size, size), interpolation=cv2.INTER_AREA)


def test_the_pattern_goes_on_without_a_seam() -> None:
    tile = pattern()
    assert tile.shape == (TILE, TILE) and abs(tile.mean()) < 1e-4 and tile.std() == pytest.approx(1, abs=1e-3)
    inside = np.abs(np.diff(tile, axis=1)).max()
    assert np.abs(tile[:, 0] - tile[:, -1]).max() <= inside and np.abs(tile[0] - tile[-1]).max() <= inside


@pytest.mark.parametrize("index", range(4))
def test_it_is_found_and_not_seen(index: int) -> None:
    plain = portrait(index)
    marked = imprinted(plain)
    error = np.square(marked.astype(float) - plain).mean()
    assert 10 * np.log10(255**2 / error) >= 42
    assert np.abs(marked.astype(int) - plain).max() <= 16
    assert presence([marked]).found and not presence([plain]).found


def test_any_part_of_a_picture_will_do() -> None:
    marked = imprinted(portrait(0))
    found = presence([marked[61:401, 37:395]])
    assert found.found and found.scale == pytest.approx(1, abs=0.03)


def test_scaling_and_jpeg_leave_it() -> None:
    for side in (224, 336, 700):
        small = cv2.resize(imprinted(portrait(1)), (side, side), interpolation=cv2.INTER_AREA)
        coded = cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_COLOR)
        found = presence([coded])
        assert found.found and found.scale == pytest.approx(side / 448, rel=0.03)


def test_h264_leaves_it(tmp_path) -> None:  # noqa: ANN001
    write_movie(tmp_path / "dub.mp4", [imprinted(portrait(2))] * 6, options={"crf": "28"})
    assert look_into(tmp_path / "dub.mp4").found


def test_a_piece_continues_the_pattern_of_its_picture() -> None:
    whole = np.full((300, 400, 3), 120, np.uint8)
    piece = imprinted(whole[50:250, 90:390], left=90, top=50)
    marked = imprinted(whole)[50:250, 90:390]
    assert np.abs(piece.astype(int) - marked).max() <= 1, "but for the strength, which is of the piece"


def test_what_is_transparent_stays_as_it_is() -> None:
    piece = np.dstack([portrait(3), np.zeros((448, 448), np.uint8)])
    piece[:200, :, 3] = 255
    marked = imprinted(piece)
    np.testing.assert_array_equal(marked[200:], piece[200:])
    np.testing.assert_array_equal(marked[..., 3], piece[..., 3])
    assert (marked[:200] != piece[:200]).any()
    assert imprinted(np.zeros((0, 0, 4), np.uint8)).shape == (0, 0, 4)


def test_pictures_without_it_stay_below() -> None:
    """Faces, a scene, stripes and noise."""
    stripes = np.tile(np.repeat(np.array([60, 190], np.uint8), 8), 28)[:448]
    pictures = [
        *(portrait(index, 300) for index in range(4, 8)),
        scene(480, 270),
        np.random.default_rng(3).integers(0, 256, (240, 320, 3), np.uint8),
        np.repeat(np.tile(stripes, (200, 1))[..., None], 3, axis=2),
        np.zeros((100, 100, 3), np.uint8),
    ]
    assert max(presence([picture]).score for picture in pictures) < FOUND
    assert not presence([]).found
