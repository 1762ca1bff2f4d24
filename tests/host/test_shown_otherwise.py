"""Overlays lie on what Blender shows, also where players show it otherwise: mirrored, stretched and HDR footage."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from model_server.pipeline.media import hdr
from model_server.pipeline.media.video import picture_at
from tests.clips import hero
from tests.conftest import speechlike, write_wav
from tests.pipeline.conftest import paste, scene
from tests.pipeline.tagged import Tags, bars, oriented, patches, write_tagged

from .conftest import Blender
from .test_dub import dub
from .test_footage import set_up, shown

SIZE = (640, 360)
FRAMES = 5
# Where the head is, and a frame of the timeline that shows the dub.
PLACE, AT = (200, 190), 44


def head() -> np.ndarray:
    """A head left of the middle."""
    picture = scene(*SIZE)
    paste(picture, hero(), PLACE, 0.55)
    return picture


def with_speech(footage: Path) -> Path:
    write_wav(footage.with_name("speech.wav"), speechlike(FRAMES / 25))
    return footage


def dubbed(blender: Blender, footage: Path, size: tuple[int, int], folder: Path, **settings: Any) -> dict[str, Any]:
    """The strip of an overlay, what is seen with and without it, its picture, and the kinds of the warnings."""
    set_up(blender, with_speech(footage), size, **settings)
    strip = dub(blender)
    composed = shown(blender, AT, folder)
    blender.set_strip(name=strip["name"], mute=True)
    file = Path(strip["directory"]) / strip["elements"][AT - strip["left"]]
    layer = cv2.cvtColor(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    kinds = {warning["kind"] for warning in blender.jobs()[-1]["warnings"]}
    return strip | {"composed": composed, "plain": shown(blender, AT, folder), "layer": layer, "kinds": kinds}


def middle(layer: np.ndarray) -> tuple[float, float]:
    """Middle of what is not transparent, (x, y)."""
    y, x = np.nonzero(layer[..., 3])
    return float(x.mean()), float(y.mean())


def lies_well(made: dict[str, Any]) -> bool:
    """Whether nothing but the face changes, and that not by much: a face lies on a face."""
    over, plain = made["composed"].astype(int), made["plain"]
    alpha = made["layer"][..., 3]
    face, apart = alpha == alpha.max(), np.abs(over - plain)
    return bool(np.array_equal(over[alpha == 0], plain[alpha == 0]) and 2 < apart[face].mean() < 30)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [("plain", 0), ("up and down", 0), ("quarter", 1), ("diagonal", 1), ("other diagonal", -1)],
)
def test_turned_and_mirrored_footage(dubbing: Blender, tmp_path: Path, orientation: str, turned: int) -> None:
    stored = np.ascontiguousarray(np.rot90(head(), turned))  # upright as Blender shows it
    plain = write_tagged(tmp_path / "plain.mp4", [stored] * FRAMES, Tags(6, primaries=6, transfer=6))
    made = dubbed(dubbing, oriented(plain, tmp_path / "actor.mp4", orientation), SIZE, tmp_path)
    assert made["layer"].shape == (*SIZE[::-1], 4)
    assert np.hypot(*np.subtract(middle(made["layer"]), PLACE)) < 20 and lies_well(made)
    assert ("shown_otherwise" in made["kinds"]) == (orientation in ("up and down", "diagonal", "other diagonal"))


def test_footage_whose_pixels_are_no_squares(dubbing: Blender, tmp_path: Path) -> None:
    squeezed = cv2.resize(head(), (360, 288), interpolation=cv2.INTER_AREA)
    tags, pixel = Tags(5, primaries=5, transfer=6), Fraction(64, 45)
    footage = write_tagged(tmp_path / "actor.mp4", [squeezed] * FRAMES, tags, pixel=pixel)
    made = dubbed(dubbing, footage, (360, 288), tmp_path)
    assert made["layer"].shape == (288, 360, 4) and made["kinds"] == {"shown_otherwise"}
    expected = PLACE[0] * 360 / 640, PLACE[1] * 288 / 360
    assert np.hypot(*np.subtract(middle(made["layer"]), expected)) < 15 and lies_well(made)


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG], ids=["PQ", "HLG"])
@pytest.mark.parametrize("output", ["overlay", "full_frame"])
def test_hdr_footage(dubbing: Blender, tmp_path: Path, transfer: int, output: str) -> None:
    graded = hdr.to_hdr(head() / 255, transfer)
    tags = Tags(9, bits=10, primaries=9, transfer=transfer)
    footage = write_tagged(tmp_path / "actor.mp4", [graded] * FRAMES, tags)
    set_up(dubbing, with_speech(footage), SIZE)
    dubbing.settings(output=output)
    strip = dub(dubbing)
    composed = shown(dubbing, AT, tmp_path).astype(int)
    dubbing.set_strip(name=strip["name"], mute=True)
    plain = shown(dubbing, AT, tmp_path)

    apart = np.abs(composed - plain).max(axis=2)
    x, y = PLACE
    face, elsewhere = (slice(y - 50, y + 60), slice(x - 40, x + 40)), apart[:, 400:]
    # Of SDR footage the dub changes an eighth of the face's own contrast. Blender 4.5 shows HDR faintly, dub and all.
    assert 0.06 < apart[face].mean() / plain[face].std(axis=(0, 1)).mean() < 0.5
    # Eight bits of HDR are dithered.
    assert not elsewhere.any() if output == "overlay" else elsewhere.mean() < 3 and elsewhere.max() < 20
    assert "hdr" in {warning["kind"] for warning in dubbing.jobs()[-1]["warnings"]}
    with Image.open(Path(strip["directory"]) / strip["elements"][0]) as picture:
        assert picture.size == SIZE


@pytest.mark.parametrize("tags", [Tags(), Tags(stated=False), Tags(6, primaries=6)], ids=["HD", "unstated", "SD's"])
def test_colours_of_hd_are_taken_as_blender_takes_them(blender: Blender, tmp_path: Path, tags: Tags) -> None:
    """Where a file states no matrix players go by the size, Blender does not."""
    size = (1280, 720)
    film = write_tagged(tmp_path / "bars.mp4", [bars(*size)] * 2, tags)
    blender.new_scene(fps=25)
    blender.resolution(width=size[0], height=size[1])
    blender.add(kind="movie", file=str(film), name="bars", channel=1, start=1)
    seen = patches(shown(blender, 1, tmp_path))
    assert np.abs(seen - patches(picture_at(film, Fraction(0), "blender"))).max() <= 2


def test_a_photo_that_players_turn(dubbing: Blender, tmp_path: Path) -> None:
    photo = Image.fromarray(head())
    orientation = photo.getexif()
    orientation[0x0112] = 8
    photo.save(tmp_path / "actor.png", exif=orientation)
    dubbing.new_scene(fps=25)
    dubbing.resolution(width=SIZE[0], height=SIZE[1])
    dubbing.add(kind="image", file=str(with_speech(tmp_path / "actor.png")), name="actor", channel=1, start=1)
    dubbing.set_strip(name="actor", frame_final_end=1 + FRAMES)
    dubbing.add(kind="sound", file=str(tmp_path / "speech.wav"), name="speech", channel=2, start=1)
    dubbing.settings(output="overlay", pose_kind="fixed")
    dubbing.select(names=["speech", "actor"])
    strip = dub(dubbing)
    layer = np.asarray(Image.open(Path(strip["directory"]) / strip["elements"][0]))
    assert layer.shape == (*SIZE[::-1], 4) and np.hypot(*np.subtract(middle(layer), PLACE)) < 20
    assert "shown_otherwise" in {warning["kind"] for warning in dubbing.jobs()[-1]["warnings"]}
