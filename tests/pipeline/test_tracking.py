"""The chosen face is followed past cuts and other people, and its absences are known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model_server.errors import PoseDubError
from model_server.pipeline.faces.alignment import inverse, moved
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.tracking import Absence, FaceTrack, outside, remembered, track_face
from model_server.pipeline.media.video import open_footage
from model_server.pipeline.request import FaceSelection
from model_server.pipeline.result_cache import ResultCache
from tests.clips import CUT, FRAMES, HERO, LEAVES, hero, noisy, other, still_head, two_people
from tests.pipeline.conftest import INPUTS, Shelf, paste, scene
from tests.pipeline.makers import write_movie

ALL = range(FRAMES)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_people(tmp_path_factory.mktemp("clips"))


def tracked(path: Path, finder: FaceFinder, selection: FaceSelection, frames: range = ALL) -> FaceTrack:
    return track_face(open_footage(path), frames, selection, lambda: finder)


def test_the_chosen_person_is_followed_past_the_cut(clip: Path, finder: FaceFinder) -> None:
    track = tracked(clip, finder, FaceSelection(at=HERO))
    assert track.cuts == (CUT,)
    mouths = track.points[:, 2, 0]
    assert np.abs(mouths[:CUT] - 180).max() < 3 and np.abs(mouths[CUT:LEAVES] - 430).max() < 3


def test_the_other_person_is_followed_just_as_well(clip: Path, finder: FaceFinder) -> None:
    track = tracked(clip, finder, FaceSelection(at=(0.73, 0.5)))
    mouths = track.points[:, 2, 0]
    assert np.abs(mouths[:CUT] - 470).max() < 3 and np.abs(mouths[CUT:] - 150).max() < 3
    assert (track.absences == Absence.NONE).all()


def test_a_face_leaving_the_frame_is_cut_off_and_then_gone(clip: Path, finder: FaceFinder) -> None:
    absences = tracked(clip, finder, FaceSelection(at=HERO)).absences.tolist()
    kinds = sorted(set(absences[LEAVES:]), key=absences[LEAVES:].index)
    assert kinds == [Absence.NONE, Absence.CUT_OFF, Absence.NO_FACE]
    assert set(absences[:LEAVES]) == {Absence.NONE} and absences[-1] == Absence.NO_FACE


def test_a_choice_made_later_in_the_movie_names_the_same_person(clip: Path, finder: FaceFinder) -> None:
    later = FaceSelection(at=(0.67, 0.5), time=Fraction(CUT + 1, 25))
    assert np.abs(tracked(clip, finder, later).points[:CUT, 2, 0] - 180).max() < 3
    nobody = FaceSelection(time=Fraction(1))
    empty = write_movie(clip.with_name("empty.mp4"), [scene(320, 180)] * 30)
    with pytest.raises(PoseDubError, match="No face was found at 1.00 s"):
        tracked(empty, finder, nobody)


def test_without_the_person_nobody_else_takes_the_place(clip: Path, finder: FaceFinder) -> None:
    track = tracked(clip, finder, FaceSelection(at=HERO))
    assert not track.shown[-3:].any()


def test_a_shot_of_somebody_else_alone_has_no_face(tmp_path: Path, finder: FaceFinder) -> None:
    pictures = []
    for person in (hero(), other(), hero()):
        for k in range(4):
            picture = np.roll(scene(480, 270), person[0, 0, 0], axis=2)
            paste(picture, person, (200 + 2 * k, 140), 0.45)
            pictures.append(noisy(picture, k))
    path = write_movie(tmp_path / "reverse_shot.mp4", pictures, options={"crf": "12"})
    track = tracked(path, finder, FaceSelection(), range(12))
    assert track.shown.tolist() == [True] * 4 + [False] * 4 + [True] * 4


def test_a_turned_head_is_marked_by_its_yaw(finder: FaceFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_server.pipeline.faces.tracking.MAX_YAW", 25.0)
    monkeypatch.setattr("model_server.pipeline.faces.tracking.BACK_YAW", 20.0)
    track = tracked(INPUTS / "pose.mp4", finder, FaceSelection(), range(0, 150, 2))
    away = track.absences == Absence.TURNED_AWAY
    assert 5 < away.sum() < 60 and track.shown.all()
    assert np.count_nonzero(np.diff(away.astype(int))) <= 6


def test_a_resting_head_rests(tmp_path: Path, finder: FaceFinder) -> None:
    track = tracked(still_head(tmp_path), finder, FaceSelection(), range(12))
    corners = np.array([[40.0, 10.0], [180.0, 180.0]])
    places = np.array([moved(corners, inverse(matrix)) for matrix in track.transforms])
    measured = np.abs(np.diff(track.points, axis=0)).max()
    assert np.abs(np.diff(places, axis=0)).max() < 0.5 * measured < 0.5


def test_a_head_rests_from_the_first_frame_of_its_shot_on(tmp_path: Path, finder: FaceFinder) -> None:
    """The detector's box differs from the mesh's: measured once in each, a face would lie in two places."""
    track = tracked(still_head(tmp_path, (1280, 720), 6, 1.3, noise=0), finder, FaceSelection(), range(6))
    first, *later = np.linalg.norm(np.diff(track.points, axis=0), axis=-1).max(axis=1)
    assert first < max(later) < 0.01 * np.linalg.norm(track.points[0, 1] - track.points[0, 0])


def test_a_moving_head_is_not_held_back(clip: Path, finder: FaceFinder) -> None:
    track = tracked(clip, finder, FaceSelection(at=HERO))
    steady, measured = track.steady_points[LEAVES : LEAVES + 4], track.points[LEAVES : LEAVES + 4]
    assert np.abs(steady - measured).max() < 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_footage_is_followed_like_upright_one(tmp_path: Path, finder: FaceFinder, turns: int) -> None:
    upright, pictures = [], []
    for k in range(8):
        picture = scene(640, 360)
        upright.append(paste(picture, hero(), (250 + 10 * k, 180), 0.5, roll=3 * k)[:, :2])
        pictures.append(np.rot90(noisy(picture, k), turns))
    track = tracked(
        write_movie(tmp_path / "turned.mp4", pictures, options={"crf": "12"}), finder, FaceSelection(), range(8)
    )
    assert (track.absences == Absence.NONE).all() and track.shown.all()
    for matrix, rotation in zip(track.transforms, upright, strict=True):
        roll = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
        assert abs((roll - 90 * turns - 10.5 + 180) % 360 - 180) < 4, (roll, rotation)


def test_somebody_whose_next_shot_is_upside_down_is_found_there(tmp_path: Path, finder: FaceFinder) -> None:
    pictures = []
    for k in range(12):
        picture = scene(640, 360) if k < 6 else np.ascontiguousarray(255 - scene(640, 360)[:, ::-1])
        paste(picture, hero(), (250, 180), 0.5, roll=0 if k < 6 else 180)
        pictures.append(noisy(picture, k))
    path = write_movie(tmp_path / "turned_over.mp4", pictures, options={"crf": "12"})
    track = tracked(path, finder, FaceSelection(), range(12))
    assert (track.absences == Absence.NONE).all()
    above = track.points[:, :2, 1].mean(axis=1) < track.points[:, 2, 1]
    assert above.tolist() == [True] * 6 + [False] * 6


def test_tracks_are_remembered_with_all_they_depend_on(clip: Path, finder: FaceFinder) -> None:
    shelf: ResultCache = Shelf()
    footage = open_footage(clip)

    def ask(selection: FaceSelection, frames: list[int]) -> FaceTrack:
        return remembered(shelf, "a" * 64)(footage, frames, selection, lambda: finder, lambda: None, lambda: False)

    first = ask(FaceSelection(at=HERO), [0, 1, 2])
    again = ask(FaceSelection(at=HERO), [0, 1, 2])
    assert first is not again and np.array_equal(first.transforms, again.transforms)
    assert (first.width, first.height) == (again.width, again.height) == (640, 360)
    assert not np.array_equal(ask(FaceSelection(at=(0.73, 0.5)), [0, 1, 2]).points, first.points)
    assert len(ask(FaceSelection(at=HERO), [0, 1]).points) == 2


def test_share_outside() -> None:
    square = np.array([[0.0, 0], [100, 0], [100, 100], [0, 100]])
    for shift, share in ((0, 0), (-50, 0.5), (-25, 0.25), (500, 1)):
        assert abs(outside(square + (shift, 0), (200, 200)) - share) < 0.02
