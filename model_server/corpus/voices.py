"""Random voices of eSpeak NG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_server.synthetic.speech import Voice

ENGLISH_VOICES = ("en-us", "en-gb-x-rp", "en", "en-us-nyc", "en-gb-scotland")
OTHER_VOICES = ("de", "fr", "es")
VARIANTS = ("", "+m1", "+m3", "+m5", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5")

_OTHER_LANGUAGES = 0.2  # part of clips when no voices are chosen


def random_voice(rng: np.random.Generator, names: Sequence[str] = ()) -> Voice:
    """A voice with random rate, pitch and melody; of all languages when no names are given."""
    if not names:
        base = OTHER_VOICES if rng.random() < _OTHER_LANGUAGES else ENGLISH_VOICES
        names = [base[rng.integers(len(base))] + VARIANTS[rng.integers(len(VARIANTS))]]
    name = names[rng.integers(len(names))]
    rate, pitch, melody = (int(rng.integers(low, high)) for low, high in ((120, 205), (25, 80), (25, 85)))
    return Voice(name, rate, pitch, melody)
