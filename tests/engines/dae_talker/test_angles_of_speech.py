"""Head angles from speech: the same whatever range is asked for, as large as trained, and different for each seed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from model_server.engines.base import Performance
from model_server.engines.dae_talker.engine import DaeTalkerEngine
from model_server.engines.dae_talker.pose_noise import pose_noise
from model_server.engines.dae_talker.traits import TRAITS
from model_server.engines.pcavs.family import TRAITS as PCAVS

GIVEN = {"steps": 1, "pose_gain": 1.0, "shared_noise": True, "seed": 0}


@pytest.fixture
def said(noise: Any) -> Performance:
    return Performance(noise(), Fraction(25), 0, None, GIVEN)


@pytest.mark.parametrize("seed", [0, 7])
def test_a_range_is_part_of_the_whole(engine: DaeTalkerEngine, said: Performance, seed: int) -> None:
    whole = engine.angles_of(said, range(300), seed)
    np.testing.assert_array_equal(engine.angles_of(said, range(190, 260), seed), whole[190:260])
    assert whole.shape == (300, 3) and engine.angles_of(said, range(0), seed).shape == (0, 3)


@pytest.mark.parametrize("seed", [0, 7])
def test_it_is_the_pose_of_a_dub_with_that_seed(engine: DaeTalkerEngine, said: Performance, seed: int) -> None:
    dub = replace(said, parameters=GIVEN | {"seed": seed})
    np.testing.assert_array_equal(engine.angles_of(said, range(100), seed), engine.spoken(dub).spoken(range(100)).poses)


def test_movement_is_as_large_as_trained(engine: DaeTalkerEngine, said: Performance) -> None:
    told = engine.angles_of(said, range(2000), 3)
    np.testing.assert_allclose(told.std(axis=0), engine.trained_deviation, rtol=0.4)
    held = replace(said, parameters=GIVEN | {"pose_gain": 0.0})
    assert np.ptp(engine.spoken(held).spoken(range(100)).poses, axis=0).max() == 0


def test_seeds_move_otherwise_and_keep_within_what_was_trained(engine: DaeTalkerEngine, said: Performance) -> None:
    one, other = (engine.angles_of(said, range(500), seed) for seed in (1, 2))
    assert np.abs(one - other).mean(0).min() > 0.1
    bounds = np.array([15.0, 8.0, 6.0], np.float32)
    assert (np.abs(one) <= bounds).all() and (np.abs(other) <= bounds).all()


def test_angles_follow_the_rate(engine: DaeTalkerEngine, said: Performance) -> None:
    double = Performance(said.speech, Fraction(50), 0, None, GIVEN)
    plain, fine = engine.angles_of(said, range(50), 3), engine.angles_of(double, range(100), 3)
    np.testing.assert_allclose((fine[1:-1:2] + fine[2::2])[:40] / 2, (plain[:40] + plain[1:41]) / 2, atol=1e-4)


def test_noise_is_smooth_and_of_deviation_one() -> None:
    made = pose_noise(range(20000), 3, seed=5)
    np.testing.assert_allclose(made.std(0), 1, atol=0.06)
    power = np.square(np.abs(np.fft.rfft(made[:, 0])))
    below = np.fft.rfftfreq(len(made), 1 / 25) < 0.5
    assert power[below].sum() / power.sum() == pytest.approx(0.9, abs=0.02)
    np.testing.assert_allclose(pose_noise(range(700, 800), 3, 5), made[700:800], atol=1e-6)


def test_who_tells_pose() -> None:
    assert TRAITS.tells_pose and not PCAVS.tells_pose
