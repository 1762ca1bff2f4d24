"""Sentences are drawn from a seed and hold every mouth shape."""

import numpy as np
import pytest

from model_server.corpus.sentences import sentence, vocabulary
from model_server.synthetic.speech import Voice, synthesize
from model_server.synthetic.visemes import VISEMES, viseme_of


def test_same_seed_same_sentences_and_rarely_twice() -> None:
    drawn = [[sentence(np.random.default_rng([seed, k])) for k in range(100)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) > 95 and not any("{" in text for text in drawn[0])


@pytest.mark.parametrize(("language", "voice"), [("en", "en-us"), ("de", "de"), ("fr", "fr"), ("es", "es")])
def test_words_of_each_language_are_spoken(language: str, voice: str) -> None:
    pytest.importorskip("espeakng_loader")
    speech = synthesize(sentence(np.random.default_rng(1), language), Voice(voice))
    assert speech.duration > 0.7 and len(speech.phonemes) > 8


def test_english_words_hold_every_viseme() -> None:
    pytest.importorskip("espeakng_loader")
    speech = synthesize(". ".join(vocabulary()), Voice("en-us", rate=300))
    assert {viseme_of(phoneme.symbol) for phoneme in speech.phonemes} == set(VISEMES)
