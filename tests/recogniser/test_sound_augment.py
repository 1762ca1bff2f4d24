"""Changed sound keeps its bounds, and labels move with it."""

import numpy as np
import pytest

from model_server.training.recogniser import background, sound_augment
from model_server.training.recogniser.sound_augment import augment, loudness
from tests.recogniser.conftest import noise


def chirp(seconds: float = 1.5) -> np.ndarray:
    time = np.arange(int(16000 * seconds)) / 16000
    return (0.14 * np.sin(2 * np.pi * (200 * time + 300 * time**2))).astype(np.float32)


@pytest.mark.parametrize("kind", background.KINDS)
def test_backgrounds_are_as_long_and_loud_as_asked(kind: str) -> None:
    made = [background.KINDS[kind](np.random.default_rng(seed), 24000) for seed in (1, 1, 2)]
    assert len(made[0]) == 24000 and loudness(made[0]) == pytest.approx(1, abs=0.01)
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])
    assert all(np.isfinite(part).all() for part in made)


@pytest.mark.parametrize("name", ["in_room", "coded", "telephone"])
def test_rooms_and_lines_keep_length_and_level(name: str) -> None:
    sound = chirp()
    change = getattr(sound_augment, name)
    out = change(sound) if name == "telephone" else change(sound, np.random.default_rng(3))
    assert len(out) == len(sound) and out.dtype == np.float32 and not np.array_equal(out, sound)
    assert 0.5 < loudness(out) / loudness(sound) < 1.5


def test_a_telephone_passes_its_band_only() -> None:
    spectrum = np.abs(np.fft.rfft(sound_augment.telephone(noise(2))))
    hertz = np.fft.rfftfreq(32000, 1 / 16000)
    inside, outside = spectrum[(hertz > 500) & (hertz < 3000)].mean(), spectrum[hertz > 4200].mean()
    assert outside < 0.1 * inside


def test_speed_moves_pitch_and_tempo_does_not() -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(16000) / 16000).astype(np.float32)

    def hertz(samples: np.ndarray) -> float:
        return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * 16000 / len(samples))

    fast, quick = sound_augment.resampled(tone, 1.1), sound_augment.with_tempo(tone, 1.25)
    assert len(fast) == pytest.approx(16000 / 1.1, abs=2) and hertz(fast) == pytest.approx(550, abs=3)
    assert len(quick) == pytest.approx(16000 / 1.25, abs=2) and hertz(quick) == pytest.approx(500, abs=8)


def test_background_lies_so_far_below() -> None:
    sound, other = chirp(), noise(1.5, 1) * 10
    added = sound_augment.mixed(sound, other, 20, loudness(sound)) - sound
    assert 20 * np.log10(loudness(sound) / loudness(added)) == pytest.approx(20, abs=0.2)


def test_nothing_is_changed_at_strength_nought() -> None:
    sound = chirp()
    changed = augment(sound, np.random.default_rng(0), 0.0, lambda rng: sound)
    assert np.array_equal(changed.samples, sound) and (changed.rate, changed.lead, changed.octaves) == (1, 0, 0)


def test_where_things_are_is_known_and_bounds_hold() -> None:
    sound = np.zeros(24000, np.float32)
    sound[12000:12400] = 0.9  # a click in the middle, at 0.75 s
    found = 0
    for seed in range(60):
        changed = augment(sound, np.random.default_rng(seed), 1.0, lambda rng: chirp())
        assert np.abs(changed.samples).max() <= 1 and changed.samples.dtype == np.float32
        assert 0.7 < changed.rate < 1.4 and 0 <= changed.lead <= 1 and abs(changed.octaves) < 0.21
        loudest = np.convolve(changed.samples**2, np.ones(400), "same").argmax() / 16000
        expected = 0.7625 / changed.rate + changed.lead
        found += abs(loudest - expected) < 0.04
        same = augment(sound, np.random.default_rng(seed), 1.0, lambda rng: chirp())
        assert np.array_equal(changed.samples, same.samples)
    assert found >= 57  # a background as loud as the click may be louder at another place
