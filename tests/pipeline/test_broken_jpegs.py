"""JPEGs whose end is missing are read when all of the picture is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media.images import load_image
from tests.pipeline.conftest import INPUTS


def jpeg(folder: Path, mode: str, **settings: Any) -> bytes:
    path = folder / "whole.jpg"
    with Image.open(INPUTS / "portrait.png") as picture:
        picture.convert(mode).save(path, "JPEG", **settings)
    return path.read_bytes()


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("missing", [1, 2])
def test_without_its_end_marker(tmp_path: Path, mode: str, settings: dict[str, Any], missing: int) -> None:
    content = jpeg(tmp_path, mode, exif=_turned(), **settings)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content[:-missing])
    assert np.array_equal(load_image(path), load_image(tmp_path / "whole.jpg"))


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_part_of_one_is_not(tmp_path: Path, settings: dict[str, Any], share: float) -> None:
    content = jpeg(tmp_path, "RGB", **settings)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(PoseDubError, match=r"photo\.jpg is damaged; export or copy it again") as caught:
        load_image(path)
    assert caught.value.kind is ErrorKind.CORRUPT
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()
