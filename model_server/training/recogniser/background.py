"""What is heard beside and instead of speech, made here: coloured noise, music, clicks, breath and applause."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16000
Samples = NDArray[np.float32]

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))
_OVERTONES = 6


def noise(rng: np.random.Generator, count: int) -> Samples:
    """Noise (count,) of a random colour, from white to brown, with a random band lifted and a slow swell."""
    tilt, lift = rng.uniform(0, 2), rng.uniform(0, 3)
    middle, width = np.exp(rng.uniform(np.log(100), np.log(7000))), rng.uniform(0.2, 1.5)

    def gain(hertz: NDArray) -> NDArray:
        octaves = np.log2(np.maximum(hertz, 20) / middle)
        return np.maximum(hertz, 40) ** (-tilt / 2) * (1 + lift * np.exp(-((octaves / width) ** 2)))

    return _levelled(coloured(rng, count, gain) * _swell(rng, count, rng.uniform(0, 0.6)))


def hum(rng: np.random.Generator, count: int) -> Samples:
    """Mains hum (count,) and its harmonics, with some noise."""
    base = rng.choice([50.0, 60.0])
    time = np.arange(count, dtype=np.float32) / SAMPLE_RATE
    tones = [rng.uniform(0, 1) / k * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6)) for k in range(1, 8)]
    return _levelled(sum(tones) + 0.1 * noise(rng, count))


def music(rng: np.random.Generator, count: int) -> Samples:
    """A made-up tune (count,): chords, a melody and often a beat."""
    out = np.zeros(count, np.float32)
    scale, root = _SCALES[rng.integers(len(_SCALES))], rng.integers(40, 56)
    beat = int(SAMPLE_RATE * rng.uniform(0.25, 0.6))
    timbre = rng.uniform(0.3, 1.2) ** np.arange(_OVERTONES) / np.arange(1, _OVERTONES + 1) ** rng.uniform(0.2, 1.5)
    for number, at in enumerate(range(0, count, beat)):
        if number % 4 == 0:
            degree = int(rng.integers(len(scale)))
            chord = [_note(scale, root, degree + step) for step in (0, 2, 4)]
            for pitch in chord:
                _add(out, at, _tone(pitch, 4 * beat, timbre, rng.uniform(0.3, 2)), 0.5)
        if rng.random() < 0.7:
            pitch = _note(scale, root + 12, int(rng.integers(2 * len(scale))))
            _add(out, at, _tone(pitch, int(beat * rng.uniform(0.5, 2)), timbre, rng.uniform(1, 6)), 0.8)
    if rng.random() < 0.6:
        _add_beat(rng, out, beat)
    return _levelled(out)


def applause(rng: np.random.Generator, count: int) -> Samples:
    """Many short claps (count,)."""
    out = np.zeros(count, np.float32)
    clap = _burst(rng, int(SAMPLE_RATE * rng.uniform(0.01, 0.03)), 1500)
    starts = rng.integers(0, max(count, 1), int(count / SAMPLE_RATE * rng.uniform(5, 120)))
    for at in starts:
        _add(out, int(at), clap, float(rng.uniform(0.2, 1)))
    return _levelled(out + 0.02 * noise(rng, count))


def breath(rng: np.random.Generator, count: int) -> Samples:
    """Breaths (count,) in and out: soft noise that swells and ebbs, between faint room noise."""
    out = 0.03 * noise(rng, count)
    at = int(rng.integers(0, SAMPLE_RATE))
    while at < count:
        length = int(SAMPLE_RATE * rng.uniform(0.25, 0.9))
        middle = rng.uniform(600, 3000)
        puff = coloured(rng, length, _around(middle))
        _add(out, at, (puff * np.hanning(length)).astype(np.float32), float(rng.uniform(0.3, 1)))
        at += int(length + SAMPLE_RATE * rng.uniform(0.3, 2.0))
    return _levelled(out)


KINDS: dict[str, Callable[[np.random.Generator, int], Samples]] = {
    "noise": noise, "hum": hum, "music": music, "applause": applause, "breath": breath,
}  # fmt: skip


def coloured(rng: np.random.Generator, count: int, gain: Callable[[NDArray], NDArray]) -> Samples:
    """Noise (count,) whose spectrum is `gain` of the frequencies in hertz, about unit loudness."""
    size = fast_length(count)
    spectrum = np.fft.rfft(rng.standard_normal(size, np.float32))
    shaped = np.fft.irfft(spectrum * gain(np.fft.rfftfreq(size, 1 / SAMPLE_RATE)), size)[:count]
    return _levelled(shaped.astype(np.float32))


def _around(middle: float) -> Callable[[NDArray], NDArray]:
    """Gain that falls to both sides of a frequency in hertz."""
    return lambda hertz: np.exp(-(np.log2(np.maximum(hertz, 20) / middle) ** 2))


def fast_length(count: int) -> int:
    """The next length of few small factors, whose Fourier transform is quick."""
    size = max(count, 16)
    step = 1 << max(0, size.bit_length() - 5)
    return -(-size // step) * step


def _levelled(samples: NDArray) -> Samples:
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
    return (samples / max(level, 1e-9)).astype(np.float32)


def _swell(rng: np.random.Generator, count: int, depth: float) -> Samples:
    points = rng.uniform(1 - depth, 1, 2 + count // SAMPLE_RATE)
    return np.interp(np.arange(count), np.linspace(0, count, len(points)), points).astype(np.float32)


def _note(scale: tuple[int, ...], root: int, degree: int) -> float:
    """Hertz of a step of a scale on a MIDI note."""
    octave, step = divmod(degree, len(scale))
    return float(440 * 2 ** ((root + 12 * octave + scale[step] - 69) / 12))


def _tone(hertz: float, count: int, timbre: NDArray, decay: float) -> Samples:
    time = np.arange(count, dtype=np.float32) / SAMPLE_RATE
    audible = [k for k in range(1, _OVERTONES + 1) if hertz * k < SAMPLE_RATE / 2]
    wave = sum(timbre[k - 1] * np.sin(np.float32(2 * np.pi * hertz * k) * time) for k in audible)
    attack = np.minimum(1, time * 60) * np.minimum(1, time[::-1] * 60)
    return np.asarray(wave * np.exp(-decay * time) * attack, np.float32)


def _add_beat(rng: np.random.Generator, out: Samples, beat: int) -> None:
    kick, snare = _burst(rng, 1600, 90), _burst(rng, 1200, 2500)
    for number, at in enumerate(range(0, len(out), beat // 2)):
        if number % 4 in (0, 2):
            _add(out, at, kick if number % 4 == 0 else snare, 1.0)


def _burst(rng: np.random.Generator, count: int, hertz: float) -> Samples:
    wide = coloured(rng, count, _around(hertz))
    return (wide * np.exp(-5 * np.arange(count) / count)).astype(np.float32)


def _add(out: Samples, at: int, part: Samples, level: float) -> None:
    end = min(len(out), at + len(part))
    out[at:end] += np.float32(level) * part[: max(0, end - at)]
