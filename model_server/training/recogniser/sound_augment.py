"""Other rooms, microphones, lines and speeds for recorded speech; labels move along.

All changes are functions of samples (n,) float32 at 16 kHz and a random generator; lengths change only where speed,
tempo and silence do, and nothing leaves [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.training.recogniser.background import KINDS, SAMPLE_RATE, coloured, fast_length

Samples = NDArray[np.float32]
Voices = Callable[[np.random.Generator], Samples]

_SPEED_SHARE, _TEMPO_SHARE, _ROOM_SHARE, _BACKGROUND_SHARE = 0.5, 0.3, 0.4, 0.6
_BABBLE_SHARE = 0.2  # of backgrounds
_TELEPHONE_SHARE, _CODEC_SHARE, _SILENCE_SHARE = 0.15, 0.2, 0.4
_SPEED, _TEMPO = (0.88, 1.14), (0.85, 1.2)
_SNR_DB = (0.0, 30.0)
_GAIN_DB, _MOST_GAIN_DB = 4.0, 10.0
_LONGEST_SILENCE = 1.0  # seconds at either end
_FRAME, _HOP, _SEARCH = 640, 320, 160  # of the change of tempo, samples
_MU = 255.0


@dataclass(frozen=True)
class Augmented:
    """Changed speech, and where its moments are now.

    Attributes:
        samples: (n,) in [-1, 1].
        rate: seconds of the original that pass in one second.
        lead: seconds before the original begins.
        octaves: by which the voice is higher.
        babble: whether other people speak in the background.
    """

    samples: Samples
    rate: float = 1.0
    lead: float = 0.0
    octaves: float = 0.0
    babble: bool = False


def augment(samples: Samples, rng: np.random.Generator, strength: float, voices: Voices) -> Augmented:
    """Randomly changed speech.

    Args:
        samples: speech at the reference loudness.
        rng: what is drawn.
        strength: 1 for each change at its usual share, 0 for none.
        voices: gives other speech, for babble.
    """

    def happens(share: float) -> bool:
        return bool(rng.random() < share * strength)

    speed = rng.uniform(*_SPEED) if happens(_SPEED_SHARE) else 1.0
    tempo = rng.uniform(*_TEMPO) if happens(_TEMPO_SHARE) else 1.0
    voice = with_tempo(resampled(samples, speed), tempo)
    voice = in_room(voice, rng) if happens(_ROOM_SHARE) else voice
    ends = rng.uniform(0, _LONGEST_SILENCE, 2) if happens(_SILENCE_SHARE) else (0.0, 0.0)
    before, after = (int(end * SAMPLE_RATE) for end in ends)
    heard, babble = np.pad(voice, (before, after)), False
    if happens(_BACKGROUND_SHARE):
        babble = bool(rng.random() < _BABBLE_SHARE)
        beside = background(rng, len(heard), voices if babble else None)
        heard = mixed(heard, beside, rng.uniform(*_SNR_DB), loudness(voice))
    heard = telephone(heard) if happens(_TELEPHONE_SHARE) else heard
    heard = coded(heard, rng) if happens(_CODEC_SHARE) else heard
    if strength:
        heard = amplified(heard, float(np.clip(rng.normal(0, _GAIN_DB), -_MOST_GAIN_DB, _MOST_GAIN_DB)) * strength)
    return Augmented(np.clip(heard, -1, 1), speed * tempo, before / SAMPLE_RATE, float(np.log2(speed)), babble)


def background(rng: np.random.Generator, count: int, voices: Voices | None = None) -> Samples:
    """Sounds without speech (count,) of unit loudness, or other people's babble where `voices` are given."""
    if voices:
        return babble_of([voices(rng) for _ in range(rng.integers(2, 6))], rng, count)
    names = list(KINDS)
    shares = np.array([0.5, 0.08, 0.27, 0.05, 0.1])
    return KINDS[names[rng.choice(len(names), p=shares)]](rng, count)


def babble_of(voices: list[Samples], rng: np.random.Generator, count: int) -> Samples:
    """Voices (each of any length, repeated) at once, (count,) of unit loudness."""
    out = np.zeros(count, np.float32)
    for voice in voices:
        turned = np.roll(voice, rng.integers(len(voice)))
        out += np.resize(turned, count) * np.float32(rng.uniform(0.5, 1))
    return out / max(loudness(out), 1e-6)


def loudness(samples: Samples) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def mixed(samples: Samples, other: Samples, snr_db: float, level: float) -> Samples:
    """Speech with a background of unit loudness, `snr_db` below the speech's `level`."""
    return samples + np.float32(level * 10 ** (-snr_db / 20)) * other


def amplified(samples: Samples, decibels: float) -> Samples:
    """Louder or softer."""
    return samples * np.float32(10 ** (decibels / 20))


def resampled(samples: Samples, speed: float) -> Samples:
    """Played at another speed, so that the pitch changes, too; band-limited, through the spectrum."""
    count = round(len(samples) / speed)
    if count == len(samples):
        return samples
    # Both lengths are multiples of the same fraction, so padding keeps the ratio to a part in a thousand.
    size = fast_length(len(samples))
    other = round(size * count / len(samples))
    other += other % 2
    spectrum = np.fft.rfft(np.pad(samples, (0, size - len(samples))))
    kept = np.zeros(other // 2 + 1, spectrum.dtype)
    kept[: min(len(kept), len(spectrum))] = spectrum[: len(kept)]
    return (np.fft.irfft(kept, other)[:count] * (other / size)).astype(np.float32)


def with_tempo(samples: Samples, tempo: float) -> Samples:
    """Faster or slower speech of the same pitch: pieces laid over each other where they fit (WSOLA, Verhelst 1993)."""
    if tempo == 1.0 or len(samples) < 2 * _FRAME:
        return samples
    count = int(len(samples) / tempo)
    padded = np.pad(samples, (_SEARCH, _FRAME + 2 * _SEARCH + _HOP))
    window = np.hanning(_FRAME + 1)[:-1].astype(np.float32)
    out = np.zeros(count + 2 * _FRAME, np.float32)
    follow = padded[_SEARCH : _SEARCH + _HOP]
    for at in range(0, count, _HOP):
        wanted = min(int(at * tempo), len(samples))
        region = padded[wanted : wanted + 2 * _SEARCH + _HOP]
        begin = wanted + int(np.correlate(region, follow, "valid").argmax())
        out[at : at + _FRAME] += window * padded[begin : begin + _FRAME]
        follow = padded[begin + _HOP : begin + 2 * _HOP]
    return out[:count]


def in_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """Speech in a room of random size: early reflections and a tail that dies away, as loud as before."""
    seconds, direct_db = rng.uniform(0.1, 0.8), rng.uniform(-2, 14)
    count = int(seconds * SAMPLE_RATE)
    tail = coloured(rng, count, lambda hertz: 1 / np.maximum(hertz, 200) ** 0.3)
    tail *= 10 ** (-3 * np.arange(count) / count)  # 60 dB over its length
    early = rng.integers(16, 900, 6)
    tail[early[early < count]] += rng.uniform(-4, 4, int((early < count).sum())).astype(np.float32)
    tail *= 10 ** (-direct_db / 20) / max(float(np.linalg.norm(tail)), 1e-6)
    tail[0] = 1
    size = fast_length(len(samples) + count)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[: len(samples)].astype(np.float32)
    return wet * np.float32(loudness(samples) / max(loudness(wet), 1e-6))


def banded(samples: Samples, low: float, high: float) -> Samples:
    """Only what lies between two frequencies in hertz, with edges of a tenth."""
    size = fast_length(len(samples))
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    gain = np.clip((hertz - 0.9 * low) / max(0.1 * low, 1), 0, 1) * np.clip((1.1 * high - hertz) / (0.1 * high), 0, 1)
    return np.fft.irfft(np.fft.rfft(samples, size) * gain, size)[: len(samples)].astype(np.float32)


def telephone(samples: Samples) -> Samples:
    """300 to 3400 Hz, in 8 bits of the mu-law (ITU-T G.711)."""
    narrow = banded(samples, 300, 3400)
    peak = max(float(np.abs(narrow).max(initial=0)), 1e-6)
    bent = np.sign(narrow) * np.log1p(_MU * np.abs(narrow) / peak) / np.log1p(_MU)
    steps = np.round(bent * 127) / 127
    return (np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(_MU)) / _MU * peak).astype(np.float32)


def coded(samples: Samples, rng: np.random.Generator) -> Samples:
    """As a codec of few bits leaves it: highs cut, soft bins of each moment dropped, the others in coarse steps."""
    cut, floor_db, steps = rng.uniform(3400, 7900), rng.uniform(22, 45), rng.uniform(2, 8)
    narrow = banded(samples, 20, cut)
    window = np.sqrt(np.hanning(_FRAME + 1)[:-1]).astype(np.float32)
    padded = np.pad(narrow, (_HOP, _FRAME + -len(narrow) % _HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP] * window
    spectrum = np.fft.rfft(frames, axis=1)
    size = np.abs(spectrum) + 1e-9
    coarse = np.exp(np.round(np.log(size) * steps) / steps)
    kept = size > size.max(axis=1, keepdims=True) * 10 ** (-floor_db / 20)
    pieces = np.fft.irfft(np.where(kept, spectrum / size * coarse, 0), _FRAME, axis=1) * window
    out = np.zeros((len(pieces) + 1) * _HOP, np.float32)
    out[: len(pieces) * _HOP] += pieces[:, :_HOP].ravel().astype(np.float32)
    out[_HOP:] += pieces[:, _HOP:].ravel().astype(np.float32)
    return out[_HOP : _HOP + len(samples)]
