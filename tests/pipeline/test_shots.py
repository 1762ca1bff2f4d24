"""Cuts are found where they are, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.shots import ShotDetector
from model_server.pipeline.media.video import open_footage
from tests.clips import noisy
from tests.pipeline.conftest import INPUTS, paste, scene

Picture = NDArray[np.uint8]


def starts(pictures: list[Picture]) -> list[int]:
    """First pictures of all shots."""
    detector = ShotDetector()
    for picture in pictures:
        detector.feed(picture)
    return detector.starts


def room(number: int) -> Picture:
    """One of several backdrops."""
    picture = np.roll(scene(320, 180), number, axis=2)
    picture[:, :: 20 + 13 * number] = 255 * (number % 2)
    return picture


def walk(number: int, head: Picture, frames: int) -> list[Picture]:
    """Somebody crosses a room, under camera noise."""
    pictures = []
    for k in range(frames):
        picture = room(number)
        paste(picture, head, (60 + 8 * k, 100), 0.25)
        pictures.append(noisy(picture, 100 * number + k))
    return pictures


def test_cuts_between_rooms_and_none_within(head: Picture) -> None:
    pictures = walk(0, head, 20) + walk(1, head, 7) + walk(2, head, 15)
    assert starts(pictures) == [0, 20, 27]


def test_a_pan_is_no_cut() -> None:
    wide = cv2.resize(np.hstack([room(0), room(1), room(2)]), None, fx=1, fy=1)
    wide = cv2.GaussianBlur(wide, (0, 0), 3)
    assert starts([np.ascontiguousarray(wide[:, 12 * k : 12 * k + 320]) for k in range(50)]) == [0]


def test_a_flash_and_a_fade_are_no_cuts(head: Picture) -> None:
    pictures = walk(0, head, 20)
    pictures[9] = np.full_like(pictures[9], 250)
    assert starts(pictures) == [0]
    still = walk(1, head, 1)[0]
    assert starts([(still * (1 - k / 25)).astype(np.uint8) for k in range(25)]) == [0]


def test_a_turning_head_is_one_shot() -> None:
    assert starts([picture for _, picture in open_footage(INPUTS / "pose.mp4").iter_frames(range(150))]) == [0]
    assert starts([picture for _, picture in open_footage(INPUTS / "pose.mp4").iter_frames(range(0, 150, 5))]) == [0]


def test_real_clips_one_after_the_other(real_media: Path) -> None:
    clips = [open_footage(path) for path in sorted(real_media.glob("*.mp4"))]
    detector, expected = ShotDetector(), []
    for clip in clips:
        expected.append(detector.count)
        for _, picture in clip.iter_frames(range(len(clip.times))):
            detector.feed(picture)
    assert detector.starts == expected
