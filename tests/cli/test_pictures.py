"""Portraits in formats beside PNG and JPEG, and the sentence about one that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from model_server.pipeline.media.encode import decode_png
from tests.cli.commands import posedub
from tests.pipeline.film import write_still
from tests.servers import ServerProcess


def light(values: np.ndarray) -> np.ndarray:
    """Scene-linear light, float32, that sRGB shows as these values of 8 bits."""
    shares = values / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4).astype(np.float32)


def first_frame(portrait: Path, sound: Path, folder: Path) -> np.ndarray:
    """The first picture of a dub of an aligned portrait."""
    out = folder / f"of {portrait.name}".replace(".", " ")  # a folder, not a movie
    options = ["--crop", "aligned", "--pose-mode", "frontal", "--range", "0:1", "--data", folder / "data"]
    posedub("dub", "--portrait", portrait, "--audio", sound, *options, "--out", out)
    return decode_png((out / "000000.png").read_bytes()).astype(int)


def test_a_dub_of_each(media: Path, tmp_path: Path) -> None:
    face, sound = Image.open(media / "portrait.png").convert("RGB"), media / "speech.wav"
    pillow_heif.register_heif_opener()
    face.save(tmp_path / "face.tga")
    face.save(tmp_path / "face.jp2")
    face.save(tmp_path / "face.heic", quality=-1, chroma=444, tile_size=96)
    write_still(tmp_path / "face.exr", light(np.asarray(face)), "half")
    expected = first_frame(media / "portrait.png", sound, tmp_path)
    for name in ("face.tga", "face.jp2", "face.heic", "face.exr"):
        found = first_frame(tmp_path / name, sound, tmp_path)
        assert found.shape == expected.shape and np.abs(found - expected).mean() < 1, name


def test_a_portrait_that_was_cut_out_stands_before_grey_which_is_said(media: Path, tmp_path: Path) -> None:
    face = Image.open(media / "portrait.png").convert("RGBA")
    mask = Image.new("L", face.size, 0)
    mask.paste(255, (20, 0, 204, 224))
    face.putalpha(mask)
    face.save(tmp_path / "cut.png")
    options = ["--crop", "aligned", "--pose-mode", "frontal", "--range", "0:1", "--data", tmp_path / "data"]
    sources = ["--portrait", tmp_path / "cut.png", "--audio", media / "speech.wav"]
    said = posedub("dub", *sources, *options, "--out", tmp_path / "out").stderr
    assert "The portrait is transparent in places; grey is seen there" in said


@pytest.mark.parametrize("served", [False, True], ids=["here", "on a server"])
def test_what_a_portrait_may_be_is_said(media: Path, tmp_path: Path, served: bool) -> None:
    strange = tmp_path / "face.xcf"
    strange.write_bytes(b"gimp xcf v011\0" + bytes(range(256)) * 9)
    options = ["--portrait", strange, "--audio", media / "speech.wav", "--out", tmp_path / "out"]
    if served:
        with ServerProcess(tmp_path / "server") as server:
            done = posedub("dub", *options, "--server", server.address, check=False)
    else:
        done = posedub("dub", *options, "--data", tmp_path / "data", check=False)
    said = done.stderr.strip().splitlines()[-1]
    named = "The file of the portrait" if served else "The file face.xcf"
    assert done.returncode == 1
    assert f"{named} is neither a picture nor a movie that can be read; choose PNG, JPEG" in said and "WAV" not in said
