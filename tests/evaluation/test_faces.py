"""Landmark, lip, head and identity figures on courses whose answer is known."""

import numpy as np
import pytest

from model_server.evaluation.comparison import Gallery
from model_server.evaluation.head_pose import head_angles
from model_server.evaluation.metrics import METRICS
from model_server.evaluation.metrics.lips import correlation, partial_correlation
from tests.evaluation.conftest import comparison, course, face, marks


def value(key: str, *comparisons: object) -> float:
    return METRICS[key].measure(comparisons)  # type: ignore[arg-type]


@pytest.mark.parametrize("angles", [(0, 0, 0), (40, 0, 0), (0, -25, 0), (0, 0, 20), (-30, 20, -15), (25, -15, 10)])
def test_known_rotations_of_a_head(angles: tuple[float, float, float]) -> None:
    points = marks(np.array([angles], float), np.zeros(1))[0]
    assert head_angles(points) == pytest.approx(angles, abs=0.7)


def test_no_face_has_no_angles() -> None:
    assert np.isnan(head_angles(np.full((68, 2), np.nan))).all()


def test_landmark_distance_of_a_shift() -> None:
    true = face(course(1))
    moved = face(course(1))
    moved.landmarks[:] += [3, 4]
    shifted = comparison(moved, true)
    assert value("lmd_mouth", shifted) == pytest.approx(5, abs=1e-4)
    assert value("lmd_pose", shifted) == pytest.approx(5, abs=1e-4)
    assert value("lmd_mouth_centred", shifted) == pytest.approx(0, abs=1e-4)
    assert value("lmd_mouth_percent", shifted) > 100 * 5 / 80


def test_frames_without_a_face_are_left_out_and_counted() -> None:
    true, made = face(course(1)), face(course(1))
    made.landmarks[:20] = np.nan
    found = comparison(made, true)
    assert value("lmd_mouth", found) == 0
    assert value("faces", found) == pytest.approx(0.75)
    assert value("lips", found) == pytest.approx(1)


def test_lips_that_follow_and_lips_that_do_not() -> None:
    true = face(course(1))
    assert value("lips", comparison(face(0.5 * course(1)), true)) == pytest.approx(1, abs=1e-3)
    assert value("lips_amplitude", comparison(face(0.5 * course(1)), true)) == pytest.approx(0.5, abs=1e-3)
    assert value("lips", comparison(face(0.5 - course(1)), true)) == pytest.approx(-1, abs=1e-3)
    assert value("lips", comparison(face(np.full(80, 0.2)), true)) == 0
    assert abs(value("lips", comparison(face(course(2)), true))) < 0.6


def test_a_leak_is_told_from_what_two_mouths_have_in_common() -> None:
    shared = course(1)
    true, source = shared + 0.3 * course(2), shared + 0.3 * course(3)
    clean, leaking = true + 0.05 * course(4), true + 0.3 * course(3)
    assert correlation(clean, source) > 0.5
    assert abs(partial_correlation(clean, source, true)) < 0.35
    assert partial_correlation(leaking, source, true) > 0.7


def test_leak_uses_the_foreign_mouth() -> None:
    other = face(course(2))
    leaking = comparison(face(course(1)), face(course(1)), cross_made=other, cross_driver=other)
    assert value("leak", leaking) == pytest.approx(1, abs=1e-3)
    assert np.isnan(value("leak", comparison(other, other)))


def test_head_figures() -> None:
    swing = np.linspace(-25, 25, 80)[:, None] * [1, 0.5, -0.4]
    driver = face(course(1), swing)
    half = comparison(face(course(1), 0.5 * swing), driver, driver=driver)
    assert value("yaw_r", half) == pytest.approx(1)
    assert value("yaw_error", half) == pytest.approx(np.abs(swing[:, 0]).mean() / 2, rel=1e-3)
    still = comparison(face(course(1), np.repeat(swing[:1], 80, 0)), driver, driver=driver)
    assert value("pitch_r", still) == 0
    assert value("roll_r", comparison(face(course(1), -swing), driver, driver=driver)) == pytest.approx(-1)


def test_a_held_head_is_no_success() -> None:
    """Two clips, each still in its own pose: agreement between clips must not count as following."""
    noise = np.random.default_rng(0).normal(0, 0.5, (2, 2, 80, 3))
    clips = []
    for place, (one, other) in zip((-20, 20), noise, strict=True):
        driver = face(course(1), place + one)
        clips.append(comparison(face(course(1), place + other), driver, driver=driver))
    assert abs(value("yaw_r", *clips)) < 0.3


def test_only_heads_within_thirty_degrees_count() -> None:
    swing = np.zeros((80, 3))
    swing[40:, 0] = 50
    made = swing.copy()
    made[40:] = 0
    driver = face(course(1), swing)
    assert value("yaw_error", comparison(face(course(1), made), driver, driver=driver)) == 0


def test_frontal_angles() -> None:
    frontal = np.array([[3, -4, 0], [-5, 2, 0]], np.float32)
    looked = comparison(face(course(1)), face(course(1)), frontal=frontal)
    assert (value("frontal_yaw", looked), value("frontal_pitch", looked)) == (4, 3)


def test_identity_is_found_among_portraits() -> None:
    portraits = np.eye(4, dtype=np.float32)
    frames = np.array([[0, 1, 0.2, 0], [0, 1, 0, 0], [0, 0.9, 0, 1], [0, 2, 0, 1]], np.float32)
    looked = comparison(face(course(1)), face(course(1)), identity=frames, gallery=Gallery(portraits, 1))
    assert value("identity_found", looked) == 0.75
    assert value("identity_guess", looked) == 0.25
    assert value("identity", looked) == pytest.approx(
        np.mean([1 / np.hypot(1, 0.2), 1, 0.9 / np.hypot(0.9, 1), 2 / np.hypot(2, 1)])
    )


def test_every_figure_has_a_definition() -> None:
    assert all(len(figure.definition) > 30 and figure.title for figure in METRICS.values())
    assert len({figure.title for figure in METRICS.values()}) == len(METRICS)
