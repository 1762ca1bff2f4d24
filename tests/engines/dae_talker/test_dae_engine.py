"""What the DAE-Talker engine promises, with an untrained actor: what a frame depends on, and on what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.engines.base import Condition, Performance
from model_server.engines.dae_talker import time_axis
from model_server.engines.dae_talker.conditioning import LatentConditioning
from model_server.engines.dae_talker.engine import DaeTalkerEngine
from model_server.engines.dae_talker.spoken_latents import WINDOWS_KEPT
from model_server.engines.dae_talker.traits import TRAITS
from model_server.engines.runtime import even_rows
from model_server.engines.weights import describe, load_engine
from model_server.errors import PoseDubError
from model_server.networks.cpu.bf16 import native
from model_server.pipeline.request import DubSpec, PoseSpeech, Speech, parameters_of

RATE = Fraction(25)
DEFAULTS = parameters_of(DubSpec(None, Speech(""), PoseSpeech(), RATE, 1))


@pytest.fixture
def said(engine: DaeTalkerEngine, noise: Any) -> Any:
    """Makes the conditioning of a performance."""

    def conditioning(
        fps: Fraction = RATE, poses: NDArray[np.float32] | None = None, changed: int | None = None, **given: float
    ) -> LatentConditioning:
        return engine.conditioning(Performance(noise(changed), fps, 0, poses, DEFAULTS | given))

    return conditioning


def latents(conditions: Sequence[Condition]) -> NDArray[np.float32]:
    return np.stack([condition.value.latent for condition in conditions])


def test_a_frame_is_the_same_whatever_range_it_is_asked_with(said: Any) -> None:
    """Across the places where windows overlap, too."""
    whole = [condition.key for condition in said().of(range(180, 460))]
    for first, end in ((199, 200), (200, 252), (249, 251), (400, 401), (180, 230)):
        part = [condition.key for condition in said().of(range(first, end))]
        assert part == whole[first - 180 : end - 180]
    assert said().of(range(0)) == []


def test_windows_fade_into_each_other(said: Any) -> None:
    """No step between two frames where a window begins or ends is larger than elsewhere."""
    steps = np.abs(np.diff(latents(said().of(range(150, 300))), axis=0)).mean(1)
    assert steps[[49, 50, 99, 100]].max() < 1.5 * np.quantile(steps, 0.98)


def test_frames_of_any_rate_lie_between_latents_on_the_exact_time_axis(said: Any) -> None:
    known = latents(said().of(range(100)))
    double = latents(said(Fraction(50)).of(range(100)))
    # The middle of frame 2 k + 1 of 50 lies a quarter of a latent's frame after that of latent k.
    np.testing.assert_allclose(double[1::2], 0.75 * known[:50] + 0.25 * known[1:51], atol=1e-5)
    np.testing.assert_allclose(double[2::2], 0.25 * known[:49] + 0.75 * known[1:50], atol=1e-5)
    ntsc = latents(said(Fraction(30000, 1001)).of(range(60)))
    place = even_rows.row_place(57, Fraction(30000, 1001))
    below, share = int(place), float(place % 1)
    np.testing.assert_allclose(ntsc[57], (1 - share) * known[below] + share * known[below + 1], atol=1e-5)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(24000, 1001), Fraction(50), Fraction(240), Fraction(1)])
def test_both_ways_along_the_time_axis(fps: Fraction) -> None:
    for frame in (0, 1, 17, 1000):
        latent = even_rows.row_place(frame, fps)
        assert fps * (latent + Fraction(1, 2)) / 25 - Fraction(1, 2) == frame
    assert even_rows.frame_place(12, RATE) == 12


def test_weights_of_all_windows_are_one_in_all() -> None:
    total = np.zeros(1000, np.float32)
    for number in time_axis.windows_over(range(1000)):
        run = time_axis.window_latents(number)
        total[run.start : run.stop] += time_axis.window_weights(number)[: max(0, 1000 - run.start)]
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_a_changed_second_reaches_no_further_than_told(said: Any) -> None:
    """Of a minute, second 30 is said otherwise."""
    before, after = (said(changed=second).of(range(1500)) for second in (None, 30))
    changed = [k for k, pair in enumerate(zip(before, after, strict=True)) if pair[0].key != pair[1].key]
    assert changed and set(range(750, 775)) <= set(changed)
    reached = TRAITS.around(range(750, 775), RATE, 1500)
    assert reached.start <= changed[0] and changed[-1] < reached.stop
    assert len(changed) < 700


def test_a_changed_pose_reaches_its_windows_alone(said: Any) -> None:
    poses = np.zeros((900, 3), np.float32)
    turned = poses.copy()
    turned[450, 0] = 5
    before, after = (said(poses=given).of(range(900)) for given in (poses, turned))
    changed = [k for k, pair in enumerate(zip(before, after, strict=True)) if pair[0].key != pair[1].key]
    assert 450 in changed and changed[0] >= 200 and changed[-1] < 650


def test_the_head_is_held_as_given_and_within_what_was_trained(engine: DaeTalkerEngine, noise: Any) -> None:
    given = np.tile(np.array([40.0, -2.0, 1.0], np.float32), (50, 1))
    performance = Performance(noise(), Fraction(50), 0, given, DEFAULTS)
    poses = engine.spoken(performance).spoken(range(25)).poses
    np.testing.assert_allclose(poses, np.tile([15.0, -2.0, 1.0], (25, 1)), atol=1e-5)


def test_gain_scales_predicted_movement_alone(engine: DaeTalkerEngine, noise: Any) -> None:
    def poses(gain: float) -> NDArray[np.float32]:
        performance = Performance(noise(), RATE, 0, None, DEFAULTS | {"pose_gain": gain})
        return engine.spoken(performance).spoken(range(100)).poses

    assert np.ptp(poses(0), axis=0).max() == 0
    assert poses(1).std() > 0
    np.testing.assert_allclose(poses(0.5) - poses(0), 0.5 * (poses(1) - poses(0)), atol=1e-4)


def test_keyed_poses_move_with_the_gain_of_nobody(said: Any) -> None:
    poses = np.linspace(0, 5, 60, dtype=np.float32).reshape(20, 3)
    one, other = (said(poses=poses, pose_gain=gain).of(range(20)) for gain in (0.0, 1.5))
    assert [a.key for a in one] == [b.key for b in other]


def pictures(engine: DaeTalkerEngine, conditions: Sequence[Condition], seed: int = 0) -> NDArray[np.uint8]:
    return engine.draw(engine.identity_of(None, 64), conditions, seed)


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_a_picture_is_the_same_whatever_its_neighbours(engine: DaeTalkerEngine, said: Any, steps: int) -> None:
    conditions = said(steps=steps).of(range(7))
    together = pictures(engine, conditions)
    assert together.shape == (7, 64, 64, 3) and together.dtype == np.uint8
    assert len({picture.tobytes() for picture in together}) > 1
    for k, condition in enumerate(conditions):
        np.testing.assert_array_equal(pictures(engine, [condition])[0], together[k])


def test_steps_and_noise_are_part_of_a_frames_key(said: Any) -> None:
    plain, more, own = (said(**given).of(range(2)) for given in ({}, {"steps": 4}, {"steps": 4, "shared_noise": 0}))
    assert len({condition.key for made in (plain, more, own) for condition in made}) == 6
    assert said(shared_noise=0).of(range(2))[0].key == plain[0].key  # one step knows one noise


def test_shared_noise_makes_equal_latents_equal_pictures(engine: DaeTalkerEngine, said: Any) -> None:
    def two(shared: float) -> NDArray[np.uint8]:
        first, second = said(steps=4, shared_noise=shared).of(range(2))
        same = Condition(second.key, second.value._replace(latent=first.value.latent))
        return pictures(engine, [first, same])

    shared, independent = two(1), two(0)
    np.testing.assert_array_equal(shared[0], shared[1])
    assert (independent[0] != independent[1]).any()


def test_the_seed_means_another_noise(engine: DaeTalkerEngine, said: Any) -> None:
    conditions = said(steps=4).of(range(1))
    assert (pictures(engine, conditions) != pictures(engine, conditions, seed=5)).any()
    np.testing.assert_array_equal(pictures(engine, conditions, 5), pictures(engine, conditions, 5))


class Shown:
    """A portrait as analysis hands it over."""

    def __init__(self, value: int) -> None:
        random = np.random.default_rng(value)
        self.drawn = self.surrounded = random.integers(0, 255, (64, 64, 3)).astype(np.uint8)
        self.relief = None
        self.seen = np.zeros((224, 224, 3), np.uint8)


def test_a_portrait_decides_where_rendering_begins(engine: DaeTalkerEngine, said: Any) -> None:
    begun = engine.identity_of(Shown(1), 64)
    conditions = said(steps=10).of(range(1))
    assert (engine.draw(begun, conditions, 0) != pictures(engine, conditions)).any()
    with pytest.raises(PoseDubError, match="set the steps to 4 or more, or leave the portrait out"):
        engine.draw(begun, said().of(range(1)), 0)


@pytest.mark.parametrize(("steps", "sentence"), [(3, "choose 4, 10, 20 or 100"), (7, "choose 4, 10, 20 or 100")])
def test_steps_that_do_not_divide_are_a_sentence(engine: DaeTalkerEngine, said: Any, steps: int, sentence: str) -> None:
    with pytest.raises(PoseDubError, match=sentence):
        pictures(engine, said(steps=steps).of(range(1)))


@pytest.mark.skipif(not native(), reason="this processor has no instructions for half precision")
@pytest.mark.parametrize("steps", [1, 4])
def test_half_precision_draws_nearly_the_same(actor_file: Path, engine: DaeTalkerEngine, said: Any, steps: int) -> None:
    half = load_engine(describe(actor_file), "cpu", "bf16")
    assert half.fingerprint() != engine.fingerprint()
    conditions = said(steps=steps).of(range(2))
    drawn = half.draw(half.identity_of(None, 64), conditions, 0).astype(int)
    assert 0 < np.abs(drawn - pictures(engine, conditions)).mean() < 3


def test_other_sizes_are_a_sentence(engine: DaeTalkerEngine) -> None:
    with pytest.raises(PoseDubError, match="set the picture size to 64"):
        engine.identity_of(None, 128)


def test_what_was_heard_for_one_dub_serves_the_next(
    engine: DaeTalkerEngine, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same sound and pose; another pose, or another sound, is heard anew."""
    before = [condition.key for condition in said(pose_gain=0.7).of(range(5000, 5030))]
    heard: list[int] = []
    read = engine._reader.read
    monkeypatch.setattr(engine._reader, "read", lambda samples: heard.append(1) or read(samples))
    assert [condition.key for condition in said(pose_gain=0.7).of(range(5000, 5030))] == before and not heard
    said(pose_gain=0.8).of(range(5000, 5030))
    said(pose_gain=0.7, changed=200).of(range(5000, 5030))
    assert len(heard) == 4


def test_memory_does_not_grow_with_the_speech(said: Any) -> None:
    """Only so many windows are kept, however many were asked for."""
    conditioning = said()
    for first in range(0, 2400, 400):
        conditioning.of(range(first, first + 2))
    assert len(conditioning._latents._kept) == WINDOWS_KEPT
