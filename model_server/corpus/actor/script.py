"""What a synthetic actor says in a clip: sentences of one voice with pauses, in a room or in digital silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr

from model_server.corpus.sentences import sentence
from model_server.corpus.speech.aligned_voices import aligned_voices
from model_server.corpus.voices import random_voice
from model_server.features import SAMPLE_RATE
from model_server.synthetic.speech import Speech, Voice, joined, silence, synthesize

_LEVEL = 0.1  # root mean square of what is said
_LEAD = (0.4, 1.8)
_PAUSE, _LONG_PAUSE, _LONG_SHARE = (0.25, 1.0), (1.5, 3.5), 0.15
_IDLE = 0.06  # part of the clips in which nothing is said
_NO_ROOM, _ROOM_DB = 0.3, (-70.0, -48.0)  # part of the clips without room noise; its level below full scale


def monologue(
    rng: np.random.Generator, seconds: float, voices: tuple[str, ...], recordings: Path | None, share: float
) -> Speech:
    """Speech of at least `seconds`, 16 kHz.

    Args:
        rng: source of randomness.
        seconds: wanted.
        voices: eSpeak NG voices; none for many.
        recordings: corpus of real voices with times.
        share: part of the clips that real voices speak.
    """
    if rng.random() < _IDLE:
        return _in_room(rng, silence(seconds, SAMPLE_RATE))
    recorded = recordings and rng.random() < share
    utterances = aligned_voices(recordings).utterances(rng) if recordings and recorded else _spoken(rng, voices)
    parts = [silence(rng.uniform(*_LEAD), SAMPLE_RATE)]
    while sum(part.duration for part in parts) < seconds:
        pause = _LONG_PAUSE if rng.random() < _LONG_SHARE else _PAUSE
        parts += [_levelled(next(utterances)), silence(rng.uniform(*pause), SAMPLE_RATE)]
    return _in_room(rng, joined(parts))


def _spoken(rng: np.random.Generator, voices: tuple[str, ...]) -> Iterator[Speech]:
    """Sentences of one voice of eSpeak NG, without end."""
    voice = random_voice(rng, voices)
    while True:
        yield _at_16k(synthesize(sentence(rng, voice.name[:2]), voice))


def check_voices(voices: tuple[str, ...]) -> None:
    """Speak a letter in each voice; PoseDubError where one is unknown or nothing is installed that speaks."""
    for voice in voices or ("en-us",):
        synthesize("a", Voice(voice))


def _at_16k(speech: Speech) -> Speech:
    samples = np.asarray(soxr.resample(speech.samples, speech.sample_rate, SAMPLE_RATE), np.float32)
    return Speech(samples, SAMPLE_RATE, speech.phonemes)


def _levelled(speech: Speech) -> Speech:
    level = float(np.sqrt(np.mean(speech.samples.astype(np.float64) ** 2)))
    peak = float(np.abs(speech.samples).max(initial=0))
    gain = min(_LEVEL / max(level, 1e-6), 0.99 / max(peak, 1e-6))
    return Speech(speech.samples * np.float32(gain), speech.sample_rate, speech.phonemes)


def _in_room(rng: np.random.Generator, speech: Speech) -> Speech:
    """With the noise of a room, whose highs are damped, or as it is."""
    if rng.random() < _NO_ROOM:
        return speech
    white = rng.standard_normal(len(speech.samples) + 8).astype(np.float32)
    dull = np.convolve(white, np.full(8, 8**-0.5, np.float32), "valid")[: len(speech.samples)]
    samples = speech.samples + np.float32(10 ** (rng.uniform(*_ROOM_DB) / 20)) * dull
    return Speech(np.clip(samples, -1, 1), speech.sample_rate, speech.phonemes)
