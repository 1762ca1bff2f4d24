"""Things to measure: rendered footage with sound, and courses whose figures are known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model_server.evaluation.comparison import Comparison, Face
from model_server.evaluation.head_pose import MODEL, RIGID
from model_server.pipeline.media.video import Video
from model_server.pipeline.movies.writer import write_movie

INPUTS = Path(__file__).resolve().parents[1] / "demo" / "inputs"


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two short movies of a rendered head and its speech."""
    folder = tmp_path_factory.mktemp("footage")
    video = Video(INPUTS / "pose.mp4")
    for name, first in (("one", 0), ("two", 60)):
        pictures = [picture for _, picture in video.iter_frames(range(first, first + 24))]
        write_movie(folder / f"{name}.mp4", pictures, Fraction(25), INPUTS / "speech.flac", Fraction(first, 25), name)
    return folder


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation that rolls first, then pitches, then yaws: right, up and clockwise as seen are positive."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians([yaw, pitch, roll])), np.sin(np.radians([yaw, pitch, roll]))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return turn @ nod @ np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])


def marks(angles: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """Landmarks (n, 68, 2) of the fixed face at these angles, with inner lips this far apart."""
    points = np.zeros((len(opening), 68, 2), np.float32)
    points[:, 36:42], points[:, 42:48] = (85, 80), (139, 80)
    points[:, 48:68] = (112, 140)
    for frame, (angle, gap) in enumerate(zip(angles, opening, strict=True)):
        turned = MODEL @ rotation(*angle).T
        points[frame, list(RIGID)] = np.array([112, 80]) + 54 * turned[:, :2] * [1, -1]
        points[frame, [65, 66, 67], 1] += 54 * gap
    return points


def face(opening: np.ndarray, angles: np.ndarray | None = None) -> Face:
    """A face with a known course of its mouth and head."""
    angles = np.zeros((len(opening), 3)) if angles is None else angles
    return Face(marks(angles, opening), angles.astype(np.float32))


def comparison(made: Face, true: Face, **more: object) -> Comparison:
    """A comparison of two faces."""
    return Comparison("take", made, true, **more)  # type: ignore[arg-type]


def course(seed: int, frames: int = 80) -> np.ndarray:
    """A mouth that opens and closes at random, 0 to 0.4."""
    noise = np.convolve(np.random.default_rng(seed).normal(size=frames + 4), np.ones(5) / 5, "valid")
    return 0.2 * (noise - noise.min()) / np.ptp(noise) * 2
