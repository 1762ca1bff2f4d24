"""Stills that Blender shows are read with the values that it shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server.pipeline.media.images import load_image
from tests.pipeline.film import colours, write_still

from .conftest import Blender
from .test_dub import dub, set_up

FORMATS = [
    ("a.exr", "half"),
    ("a.exr", "float"),
    ("a.hdr", "float"),
    ("a.dpx", "uint8"),
    ("a.dpx", "uint16"),
    ("a.tif", "float"),
    ("a.tif", "uint16"),
    ("a.tga", "uint8"),
    ("a.sgi", "uint8"),
]


def shown(blender: Blender, file: Path, folder: Path) -> np.ndarray:
    """The picture as the sequencer renders it."""
    blender.new_scene()
    blender.add(kind="image", file=str(file), name="still", channel=1, start=1)
    return np.asarray(Image.open(blender.shown_picture(frame=1, target=str(folder / "shown.png"))).convert("RGB"))


@pytest.mark.parametrize(("name", "kind"), FORMATS)
def test_of_film_and_rendering(blender: Blender, tmp_path: Path, name: str, kind: str) -> None:
    file = write_still(tmp_path / name, colours() * (2 if kind in ("half", "float") else 1), kind)
    assert np.abs(load_image(file).astype(int) - shown(blender, file, tmp_path)).max() <= 2


def test_passes_of_a_render(blender: Blender, tmp_path: Path) -> None:
    light = colours()
    names = tuple(f"View Layer.{name}" for name in ("AO.R", "AO.G", "AO.B", "Combined.R", "Combined.G", "Combined.B"))
    file = write_still(tmp_path / "passes.exr", np.concatenate([light / 9, light], axis=2), "half", names)
    assert np.abs(load_image(file).astype(int) - shown(blender, file, tmp_path)).max() <= 2


@pytest.mark.parametrize("name", ["a.jp2", "a.psd", "a.webp", "a.bmp", "a.dds"])
def test_of_photography(blender: Blender, tmp_path: Path, name: str) -> None:
    picture = Image.fromarray(np.rint(255 * colours()).astype(np.uint8))
    if name == "a.psd":
        (tmp_path / name).write_bytes(photoshop(np.asarray(picture)))
    else:
        picture.save(tmp_path / name, lossless=True)
    assert np.abs(load_image(tmp_path / name).astype(int) - shown(blender, tmp_path / name, tmp_path)).max() <= 1


def photoshop(pixels: np.ndarray) -> bytes:
    """A file of one picture without layers, 64x64."""
    header = b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x40\0\0\0\x40\0\x08\0\3" + bytes(14)
    return header + np.moveaxis(pixels, 2, 0).tobytes()


def test_a_still_of_rendering_as_portrait(dubbing: Blender, media: Path, tmp_path: Path) -> None:
    light = np.asarray(Image.open(media / "portrait.png").convert("RGB")).astype(np.float32) / 255
    for name, kind in (("face.tga", "uint8"), ("face.exr", "half")):
        dubbing.new_scene()
        set_up(dubbing, media, frames=2)
        dubbing.delete(name="face")
        file = write_still(tmp_path / name, light, kind)
        dubbing.add(kind="image", file=str(file), name="still", channel=1, start=1)
        dubbing.select(names=["speech", "still", "pose"])
        assert len(dub(dubbing)["elements"]) == 2
        assert dubbing.jobs()[-1]["plan"]["portrait"]["file"] == str(file)


def test_what_a_portrait_may_be_is_said(dubbing: Blender, media: Path, tmp_path: Path) -> None:
    set_up(dubbing, media, frames=2)
    strange = tmp_path / "face.png"
    strange.write_bytes(b"gimp xcf v011\0" + bytes(range(256)) * 9)
    dubbing.delete(name="face")
    dubbing.add(kind="image", file=str(strange), name="still", channel=1, start=1)
    dubbing.select(names=["speech", "still", "pose"])

    said = dubbing.op(name="dub", wait=True)["error"]

    assert "The file of the portrait is neither a picture nor a movie that can be read; choose PNG, JPEG" in said
