"""Clips of synthetic people, drawn on the spot from the demo's portraits."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.media.images import load_image
from tests.pipeline.conftest import INPUTS, paste, scene
from tests.pipeline.makers import write_movie

Picture = NDArray[np.uint8]

SIZE = (640, 360)
CUT, LEAVES, FRAMES = 12, 18, 30
# Where the hero's face is in the first frame, in fractions of the picture.
HERO = (0.28, 0.5)


def hero() -> Picture:
    """The person who is dubbed."""
    return load_image(INPUTS / "portrait.png")


def other() -> Picture:
    """Somebody else."""
    return load_image(INPUTS / "stock" / "03.jpg")


def noisy(picture: Picture, seed: int, amount: float = 3.0) -> Picture:
    """The picture with camera noise."""
    noise = np.random.default_rng(seed).normal(0, amount, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def two_people(folder: Path) -> Path:
    """30 frames at 25 fps, 640x360: the hero left of another person, from frame 12 on in another room right of that
    person, from frame 18 on moving out of the picture to the right."""
    one, two = hero(), other()
    pictures = []
    for k in range(FRAMES):
        if k < CUT:
            picture = scene(*SIZE)
            paste(picture, one, (180, 190), 0.5)
            paste(picture, two, (470, 180), 0.45)
        else:
            picture = np.ascontiguousarray(255 - scene(*SIZE)[:, ::-1])
            picture[::40] = 0
            paste(picture, two, (150, 190), 0.55)
            paste(picture, one, (430 + 40 * max(k - LEAVES, 0), 180), 0.5)
        pictures.append(noisy(picture, k))
    return write_movie(folder / "two_people.mp4", pictures, options={"crf": "12"})


def still_head(
    folder: Path, size: tuple[int, int] = (640, 360), frames: int = 12, scale: float = 0.6, noise: float = 3.0
) -> Path:
    """A head that rests, under camera noise."""
    picture = scene(*size)
    paste(picture, hero(), (0.5 * size[0], 0.5 * size[1]), scale)
    pictures = (noisy(picture, k, noise) for k in range(frames))
    return write_movie(folder / "still_head.mp4", pictures, options={"crf": "16"}, rate=Fraction(25))


def moving_head(folder: Path, size: tuple[int, int], frames: int) -> Path:
    """A head that moves to the right and down, turns a little to its side and comes nearer, under camera noise."""
    background, pictures = scene(*size), []
    for k in range(frames):
        picture = background.copy()
        paste(picture, hero(), (0.4 * size[0] + 9.3 * k, 0.5 * size[1] + 2.7 * k), 1 + 0.01 * k, roll=0.8 * k)
        pictures.append(noisy(picture, k))
    return write_movie(folder / "moving_head.mp4", pictures, options={"crf": "16"})
