"""Pose codes from the face mesh's angles: the same head gives the same angles however it was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.corpus.mesh import MeshReader
from model_server.engines.base import POSE_READINGS
from model_server.engines.pcavs.weights import untrained
from model_server.engines.pose_map import PoseMap
from model_server.errors import PoseDubError
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.head_angles import angles_of, turned
from model_server.pipeline.faces.pose import read_pose
from model_server.pipeline.faces.pose_reading import PoseReader, resolved
from model_server.pipeline.request import FaceSelection
from tests.pipeline.conftest import INPUTS

# Codes that are angles: three of the twelve numbers, the rest 0.
PLAIN = PoseMap(tuple(map(tuple, np.eye(3, 12))), (0.0,) * 12, tuple(map(tuple, np.eye(12, 3))), (0.0,) * 3)
TIMES = [Fraction(2 * k + 1, 10) for k in range(30)]


def axes(yaw: float, roll: float) -> NDArray[np.float64]:
    """Axes of a head that turns about the vertical, in a picture turned by `roll` clockwise; radians."""
    across = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    turn = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.stack([turn @ across, turn @ [0, 1, 0]])


def test_axes_turn_with_their_picture() -> None:
    clockwise = 2.5 * np.array([[np.cos(0.4), -np.sin(0.4), 7], [np.sin(0.4), np.cos(0.4), 3]])
    np.testing.assert_allclose(turned(axes(0.3, 0.0), clockwise), axes(0.3, 0.4), atol=1e-12)
    yaw, _, roll = angles_of(axes(0.0, 0.4))
    assert (round(float(yaw), 3), round(float(roll), 1)) == (0, 22.9)
    assert angles_of(axes(0.3, 0.0))[0] > 15
    assert np.isnan(angles_of(np.full((1, 2, 3), np.nan))).all()


@dataclass
class Film:
    """Implements `Heads`: three pictures of a shot, two of another, whose brightness is their number."""

    known: NDArray[np.float32] | None
    shots = np.array([0, 0, 0, 1, 1])

    def angles(self) -> NDArray[np.float32] | None:
        return self.known

    def views(self, rows: NDArray[np.intp]) -> Iterator[NDArray[np.uint8]]:
        return (np.full((224, 224, 3), row, np.uint8) for row in rows)


def numbered(views: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.repeat(views[:, 0, 0, :1], 12, axis=1).astype(np.float32)


def test_each_reading_takes_what_it_says() -> None:
    angles = np.arange(15, dtype=np.float32).reshape(5, 3) * 10
    readers = {name: PoseReader(numbered, 2, name, PLAIN) for name in POSE_READINGS}
    codes = {name: reader.codes(Film(angles)) for name, reader in readers.items()}
    np.testing.assert_array_equal(codes["encoder"], np.arange(5)[:, None].repeat(12, 1))
    np.testing.assert_array_equal(codes["angles"][:, :3], angles)
    # Each shot begins as the encoder reads its first picture, and goes on as the angles do.
    expected = np.repeat([[0.0], [3.0]], [3, 2], axis=0) + angles - angles[[0, 0, 0, 3, 3]]
    np.testing.assert_allclose(codes["movement"][:, :3], expected)
    np.testing.assert_array_equal(codes["movement"][:, 5], [0, 0, 0, 3, 3])


def test_what_no_mesh_fits_is_left_to_the_encoder() -> None:
    codes = PoseReader(numbered, 2, "angles", PLAIN).codes(Film(None))
    np.testing.assert_array_equal(codes[:, 0], np.arange(5))


def unasked(views: NDArray[np.uint8]) -> NDArray[np.float32]:
    raise AssertionError("angles need no encoder")


def test_a_head_followed_through_a_movie_has_the_angles_of_its_crops(finder: FaceFinder) -> None:
    crops: list[NDArray[np.uint8]] = []

    def keep(views: NDArray[np.uint8]) -> NDArray[np.float32]:
        crops.extend(views)
        return numbered(views)

    read_pose(INPUTS / "pose.mp4", FaceSelection(), TIMES, PoseReader(keep), lambda: finder)
    faces = [MeshReader().read(crop) for crop in crops]
    seen = np.stack([face.angles for face in faces if face])
    reader = PoseReader(unasked, reading="angles", pose_map=PLAIN)
    steps: list[tuple[int, int]] = []
    track = read_pose(
        INPUTS / "pose.mp4", FaceSelection(), TIMES, reader, lambda: finder, lambda *step: steps.append(step)
    )
    assert seen[:, 0].std() > 5 and steps[-1] == (30, 30)
    error = np.abs(track.codes[:, :3] - seen)
    assert (error.mean(axis=0) < (2, 2, 1)).all()
    for axis in range(2):
        assert np.corrcoef(track.codes[:, axis], seen[:, axis])[0, 1] > 0.97


def test_crops_are_measured_as_they_are(finder: FaceFinder) -> None:
    reader = PoseReader(unasked, reading="angles", pose_map=PLAIN)
    path = INPUTS / "portrait.png"
    codes = read_pose(path, FaceSelection("aligned"), TIMES[:3], reader, lambda: finder).codes
    assert codes.shape == (3, 12) and np.isfinite(codes).all() and np.abs(codes[0, :3]).max() < 25


def test_weights_decide_unless_asked_otherwise() -> None:
    measured = replace(untrained(), pose_map=PLAIN, pose_reading="movement")
    assert resolved("auto", measured) == "movement" and resolved("encoder", measured) == "encoder"
    assert resolved("auto", untrained()) == "encoder"
    with pytest.raises(PoseDubError, match="do not tell head angles, so that angles cannot be read"):
        resolved("angles", untrained())
