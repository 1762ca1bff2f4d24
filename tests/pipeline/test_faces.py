"""Faces of any size, place and roll are found where they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.pipeline.faces.finder import FaceFinder, FoundFace, choose
from model_server.pipeline.media.images import load_image
from model_server.pipeline.media.video import open_footage
from tests.pipeline.conftest import INPUTS, paste, scene

Head = NDArray[np.uint8]
STOCK = INPUTS / "stock"


def placed(face: FoundFace, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the points of `face` lie after a transform."""
    return face.points @ matrix[:, :2].T + matrix[:, 2]


def turning(picture: Head, turns: int) -> NDArray[np.float64]:
    """The transform (2, 3) of `np.rot90(picture, turns)`."""
    matrix, (height, width) = np.eye(3), picture.shape[:2]
    for _ in range(turns):
        matrix = np.array([[0, 1, 0], [-1, 0, width], [0, 0, 1]]) @ matrix
        height, width = width, height
    return matrix[:2]


def best_error(faces: list[FoundFace], points: NDArray[np.float64]) -> float:
    """Largest distance of a point, for the face that fits best."""
    return min((float(np.hypot(*(face.points - points).T).max()) for face in faces), default=np.inf)


def test_parts_lie_as_in_a_face(finder: FaceFinder, head: Head) -> None:
    (face,) = finder.find(head)
    left, top, right, bottom = face.box
    assert left < face.left_eye[0] < face.mouth[0] < face.right_eye[0] < right
    assert top < face.left_eye[1] < face.mouth[1] < bottom
    assert abs(face.left_eye[1] - face.right_eye[1]) < 5
    assert 0.5 < face.score <= 1


@pytest.mark.parametrize("scale", [0.44, 1, 3])
def test_close_ups(finder: FaceFinder, head: Head, scale: float) -> None:
    face = finder.find(head)[0]
    side = round(scale * 512)
    close = np.zeros((side, side, 3), np.uint8)
    matrix = paste(close, head, (side / 2, side / 2), scale * 1.3)
    assert best_error(finder.find(close), placed(face, matrix)) < 0.03 * side


@pytest.mark.parametrize(("size", "scale"), [((1280, 720), 0.15), ((1920, 1080), 0.3), ((3840, 2160), 0.4)])
def test_small_faces_in_large_pictures(finder: FaceFinder, head: Head, size: tuple[int, int], scale: float) -> None:
    face = finder.find(head)[0]
    picture = scene(*size)
    matrix = paste(picture, head, (0.3 * size[0], 0.6 * size[1]), scale)
    (found,) = finder.find(picture)
    assert best_error([found], placed(face, matrix)) < 20 * scale


@pytest.mark.parametrize("roll", [-165, -135, -120, -90, -45, -20, 20, 45, 90, 105, 135, 150, 180])
def test_rolled_heads(finder: FaceFinder, head: Head, roll: float) -> None:
    face = finder.find(head)[0]
    picture = scene(1280, 720)
    matrix = paste(picture, head, (640, 360), 0.8, roll)
    assert best_error(finder.find(picture), placed(face, matrix)) < 20


def test_a_face_is_measured_alike_however_it_leans(finder: FaceFinder, head: Head) -> None:
    upright = finder.find(head)[0]
    width = upright.box[2] - upright.box[0]
    for roll in (10, 45, 90, 135, 180, 225, 300):
        picture = scene(1280, 720)
        matrix = paste(picture, head, (640, 360), 0.8, roll)
        assert best_error(finder.find(picture), placed(upright, matrix)) < 0.01 * width


def test_a_measured_face_is_at_rest(finder: FaceFinder, head: Head) -> None:
    """Measured again in the same picture it stays where it is, turned heads too."""
    pictures = [picture for _, picture in open_footage(INPUTS / "pose.mp4").iter_frames(range(0, 150, 30))]
    for picture in (head, *pictures):
        face = finder.find(picture)[0]
        again = finder.measure(picture, face)
        assert again and np.abs(again.points - face.points).max() < 0.005 * (face.box[2] - face.box[0])


@pytest.mark.parametrize("step", [0.05, 0.2, 0.5])
def test_a_face_is_followed_without_lag(finder: FaceFinder, head: Head, step: float) -> None:
    """Steps as shares of the face's width, at 25 frames a second slow, fast and beyond what heads do."""
    width = 0.5 * (finder.find(head)[0].box[2] - finder.find(head)[0].box[0])
    last = None
    for k in range(4):
        picture = scene(1280, 720)
        matrix = paste(picture, head, (300 + k * step * width, 360), 0.5)
        last = finder.measure(picture, last) if last else finder.find(picture)[0]
        assert last and best_error([last], placed(finder.find(head)[0], matrix)) < 0.03 * width


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turned_photos(finder: FaceFinder, turns: int) -> None:
    for path in sorted(STOCK.glob("*.jpg")):
        photo = load_image(path)
        (face,) = finder.find(photo)
        (turned,) = finder.find(np.rot90(photo, turns))
        assert abs((turned.roll - face.roll - 90 * turns + 180) % 360 - 180) < 3
        assert best_error([turned], placed(face, turning(photo, turns))) < 0.2 * np.hypot(
            *(face.points[1] - face.points[0])
        )
        assert 0 < turned.box[0] < turned.left_eye[0] < turned.box[2]


def test_somebody_upside_down_among_others(finder: FaceFinder, head: Head) -> None:
    face = finder.find(head)[0]
    picture = scene(1280, 720)
    upright, upside_down = paste(picture, head, (350, 360), 0.9), paste(picture, head, (950, 360), 0.8, 180)
    found = finder.find(picture)
    assert abs(found[0].roll) < 5 and abs(found[1].roll) > 175
    assert best_error(found[:1], placed(face, upright)) < 15 and best_error(found[1:], placed(face, upside_down)) < 15


def test_a_mesh_laid_over_a_face_upside_down_is_refused(finder: FaceFinder) -> None:
    for path in sorted(STOCK.glob("*.jpg")):
        photo = load_image(path)
        (face,) = finder.find(photo)
        around = finder.measure(photo, face)
        assert around and np.abs(around.points - face.points).max() < 0.2 * np.hypot(*(face.points[1] - face.points[0]))
        height, width = photo.shape[:2]
        left, top, right, bottom = face.box
        as_before = replace(face, box=(width - right, height - bottom, width - left, height - top))
        assert finder.measure(np.rot90(photo, 2), as_before) is None


def test_several_faces_largest_first(finder: FaceFinder, head: Head) -> None:
    face = finder.find(head)[0]
    picture = scene(1280, 720)
    places = [paste(picture, head, (x, 360), scale) for x, scale in ((200, 0.5), (600, 0.9), (1050, 0.7))]
    faces = finder.find(picture)
    assert len(faces) == 3
    for found, number in zip(faces, (1, 2, 0), strict=True):
        assert best_error([found], placed(face, places[number])) < 15


def test_choose_by_point_else_the_largest() -> None:
    def at(x: float, side: float) -> FoundFace:
        return FoundFace((x, 0, x + side, side), 0.9, (x, 0), (x, 0), (x, 0))

    small, large = at(0, 10), at(100, 50)
    assert choose([small, large], None, (200, 100)) is large
    assert choose([large, small], (0.1, 0.1), (200, 100)) is small
    assert choose([small, large], (0.6, 0.2), (200, 100)) is large
    assert choose([], (0.5, 0.5), (200, 100)) is None
    assert choose([], None, (200, 100)) is None


def test_no_face(finder: FaceFinder) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    for picture in (noise, scene(1280, 720), np.zeros((224, 224, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)):
        assert finder.find(picture) == []


def test_follow_stays_with_its_face(finder: FaceFinder, head: Head) -> None:
    last: FoundFace | None = None
    for step in range(6):
        picture = scene(1280, 720)
        ours = paste(picture, head, (250 + 20 * step, 400), 0.5)
        paste(picture, head, (950 - 30 * step, 350), 0.8)
        last = finder.follow(picture, last) if last else choose(finder.find(picture), (0.2, 0.5), (1280, 720))
        assert last and best_error([last], placed(finder.find(head)[0], ours)) < 10


def test_follow_finds_a_face_that_jumped(finder: FaceFinder, head: Head) -> None:
    before, after = scene(1280, 720), scene(1280, 720)
    paste(before, head, (200, 360), 0.5)
    matrix = paste(after, head, (1000, 360), 0.5)
    jumped = finder.follow(after, finder.find(before)[0])
    assert jumped and best_error([jumped], placed(finder.find(head)[0], matrix)) < 10
    assert finder.follow(scene(1280, 720), jumped) is None


def test_every_frame_of_real_clips(finder: FaceFinder, real_media: Path) -> None:
    for path in sorted(real_media.glob("*.mp4")):
        for _, picture in open_footage(path).iter_frames(range(0, 100, 10)):
            assert len(finder.find(picture)) == 1


def test_several_threads_may_look_at_once(finder: FaceFinder, head: Head) -> None:
    alone = finder.find(head)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(finder.find, [head] * 6))
    assert len(alone) == 1 and all(faces == alone for faces in found)
