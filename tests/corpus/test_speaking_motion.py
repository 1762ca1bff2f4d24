"""Somebody who speaks to a camera moves as people do: how far, how fast, with the voice, back to the middle."""

import numpy as np
import pytest

from model_server.corpus.actor.statistics import movement, power_end
from model_server.synthetic.speaking_motion import (
    LIMITS,
    accents,
    blink_times,
    head_angles,
    low_passed,
    pauses,
    speak_to_camera,
)
from model_server.synthetic.speech import Phoneme, Speech

FPS, RATE = 25, 16000


def syllables(seconds: float, stressed: bool = True) -> Speech:
    """A syllable every half second, each third one loud and marked as stressed; a second of silence every five."""
    rng = np.random.default_rng(3)
    samples = np.zeros(int(seconds * RATE), np.float32)
    phonemes = []
    for k in range(int(seconds * 2)):
        if k % 10 >= 8:
            continue
        start, strong = k / 2, k % 3 == 0
        span = slice(int(start * RATE), int((start + 0.3) * RATE))
        samples[span] = (0.3 if strong else 0.05) * rng.standard_normal(len(samples[span]))
        phonemes.append(Phoneme("ˈa" if strong and stressed else "a", start, start + 0.3))
        phonemes.append(Phoneme("n", start + 0.3, start + 0.5))
    return Speech(samples, RATE, tuple(phonemes))


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    speech = syllables(20)
    stressed = accents(speech)
    return [head_angles(np.random.default_rng(seed), speech, stressed, 500, FPS) for seed in range(40)]


def test_a_head_moves_as_far_and_as_fast_as_people_do(clips: list[np.ndarray]) -> None:
    moved = movement(clips)
    assert (np.abs(np.concatenate(clips)) <= LIMITS).all()
    yaw, pitch, roll = moved.deviation
    assert 2 < yaw < 5 and 1.5 < pitch < 3 and 1 < roll < 2.5
    assert moved.frequency[0] < 0.8 and moved.frequency[2] < 0.8 and 0.5 < moved.frequency[1] < 1.8
    assert (moved.speed > 1).all() and (moved.speed < 10).all()
    lean = np.mean([np.corrcoef(np.diff(c[:, 0]), np.diff(c[:, 2]))[0, 1] for c in clips])
    assert 0.1 < lean < 0.5


@pytest.mark.parametrize("stressed", [True, False])
def test_nods_follow_what_is_stressed(stressed: bool) -> None:
    speech = syllables(20, stressed)
    strong = {round(a.time, 1) for a in accents(speech) if a.prominence > 0.6}
    assert strong and all(min(abs(t - k * 1.5) for k in range(14)) < 0.35 for t in strong)
    still = Speech(np.zeros_like(speech.samples), RATE, speech.phonemes)
    pitch = [
        head_angles(np.random.default_rng(seed), speech, accents(speech), 500, FPS)[:, 1]
        - head_angles(np.random.default_rng(seed), still, [], 500, FPS)[:, 1]
        for seed in range(30)
    ]
    # Beside the first strong syllables of a phrase the head is lower than half a second before, on the average.
    course = np.mean(pitch, axis=0)
    times = sorted(strong)
    dips = [course[int((t + 0.2) * FPS)] - course[max(int((t - 0.3) * FPS), 0)] for t in times if t > 0.5]
    assert np.mean(dips) < -0.15


def test_pauses_bring_the_head_back() -> None:
    speech = syllables(20)
    assert len(pauses(speech)) == 4 and pauses(speech)[0] == pytest.approx((4.0, 5.0))
    assert pauses(Speech(np.zeros(RATE, np.float32), RATE, ())) == [(0.0, 1.0)]


def test_long_silence_is_blinked_through() -> None:
    times = blink_times(Speech(np.zeros(20 * RATE, np.float32), RATE, ()))
    assert len(times) == 6 and np.diff(times) == pytest.approx(3.2)


def test_noise_is_as_strong_as_asked_below_its_frequency_only() -> None:
    noise = np.stack([low_passed(np.random.default_rng(seed), 1000, FPS, 0.8) for seed in range(60)])
    assert noise.std() == pytest.approx(1, abs=0.06)
    assert 0.5 < power_end([row[:, None] for row in noise])[0] < 1.0


def test_eyes_rest_on_the_camera_and_silence_shuts_the_mouth() -> None:
    speech = syllables(10)
    performance = speak_to_camera(np.random.default_rng(5), speech, 250, FPS, reach=3.0)
    to_left = np.array([e["eyeLookIn_L"] - e["eyeLookOut_L"] for e in performance.expressions])
    assert np.corrcoef(to_left, performance.angles[:, 0])[0, 1] > 0.8
    assert performance.visemes[113, 0] > 0.9 and performance.visemes[5, 0] < 0.5
    assert performance.lids.max() > 0.9 and np.median(performance.lids) == 0
    assert performance.lids[102:106].max() > 0.9 and performance.lids[60:100].max() == 0  # where the phrase has ended
    again = speak_to_camera(np.random.default_rng(5), speech, 250, FPS, reach=3.0)
    assert np.array_equal(again.angles, performance.angles)
