import sys

import numpy as np
import pytest

from model_server.errors import PoseDubError
from model_server.synthetic.clip import perform
from model_server.synthetic.motion import blinks, eased_path, head_angles
from model_server.synthetic.speech import Phoneme, Voice, synthesize
from model_server.synthetic.visemes import SHAPES, VISEMES, mouth_shape, viseme_of, viseme_weights

BAMA = (Phoneme("b", 0.4, 0.5), Phoneme("ˈɑː", 0.5, 0.8), Phoneme("m", 0.8, 0.92), Phoneme("ə", 0.92, 1.1))


@pytest.mark.parametrize(
    ("symbol", "viseme"),
    [
        ("ˈoʊ", "oh"),
        ("tʃ", "CH"),
        ("t", "DD"),
        ("əl", "schwa"),
        ("ɡ", "kk"),
        ("ˌʌ", "aa"),
        ("", "silence"),
        ("uː", "ou"),
    ],
)
def test_visemes_of_espeak_symbols(symbol: str, viseme: str) -> None:
    assert viseme_of(symbol) == viseme


def test_viseme_weights_are_a_distribution_that_peaks_in_the_phoneme() -> None:
    weights = viseme_weights(BAMA, 40)
    assert weights.shape == (40, len(VISEMES))
    assert np.allclose(weights.sum(1), 1.0, atol=1e-5)
    assert VISEMES[weights[16].argmax()] == "aa"
    assert VISEMES[weights[11].argmax()] == VISEMES[weights[21].argmax()] == "PP"
    assert VISEMES[weights[39].argmax()] == "silence"


def test_lips_open_for_the_vowel_and_press_for_the_labials() -> None:
    shapes = [mouth_shape(row) for row in viseme_weights(BAMA, 30)]
    jaw = np.array([shape["jawOpen"] for shape in shapes])
    assert jaw[16] > 0.45 and max(jaw[11], jaw[21]) < 0.2
    assert shapes[11]["mouthPress_L"] == shapes[11]["mouthPress_R"] > 0.25


def test_coarticulation_starts_before_the_sound() -> None:
    weights = viseme_weights([Phoneme("", 0.0, 1.0), Phoneme("uː", 1.0, 1.2)], 40)[:, VISEMES.index("ou")]
    assert 0.05 < weights[23] < weights[24] < weights[26]


def test_viseme_shapes_name_both_sides() -> None:
    names = mouth_shape(np.ones(len(VISEMES), np.float32))
    assert not any(name.endswith("*") for name in names)
    assert {"mouthUpperUp_L", "mouthUpperUp_R"} <= set(names) and len(SHAPES) == 17


def test_head_angles_use_the_range_smoothly_and_repeat() -> None:
    clips = np.stack([head_angles(np.random.default_rng(seed), 250) for seed in range(20)])
    reach = np.abs(clips).max((0, 1))
    assert (reach <= [45, 30, 20]).all() and (reach > [35, 22, 14]).all()
    assert np.abs(np.diff(clips, axis=1)).max() < 12.0
    assert (head_angles(np.random.default_rng(3), 250) == clips[3]).all()


def test_eased_path_reaches_its_keys_at_rest() -> None:
    path = eased_path([[0.0], [10.0], [4.0]], [0.0, 1.0, 2.0], 51, 25.0)[:, 0]
    assert np.allclose(path[[0, 25, 50]], [0, 10, 4])
    assert abs(path[1] - path[0]) < 0.1 < abs(path[13] - path[12])


def test_blinks_close_fully_and_open_again() -> None:
    lids = blinks(np.random.default_rng(1), 500)
    assert lids.max() == 1.0 and 0.6 < (lids == 0.0).mean() < 0.98


def test_silent_performance_keeps_the_mouth_shut() -> None:
    silent = perform(4, None, 50)
    assert (silent.visemes[:, 0] == 1.0).all() and silent.sample_rate == 0
    assert all(expression.get("jawOpen", 0.0) == 0.0 for expression in silent.expressions)


def test_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(PoseDubError, match="pip install espeakng-loader"):
        synthesize("Hello.")


def test_speech_has_sound_where_its_vowels_are() -> None:
    pytest.importorskip("espeakng_loader")
    speech = synthesize("Tell me about the moon.", Voice("en-us+f2"))
    spans = [
        speech.samples[int(p.start * speech.sample_rate) : int(p.end * speech.sample_rate)]
        for p in speech.phonemes
        if viseme_of(p.symbol) in ("aa", "E", "ou", "ee")
    ]
    assert speech.sample_rate == 22050 and len(spans) >= 4
    assert min(np.abs(span).max() for span in spans) > 0.05
    starts = [p.start for p in speech.phonemes]
    assert starts == sorted(starts) and speech.phonemes[-1].end <= speech.duration + 1e-6


def test_same_text_gives_the_same_samples_whatever_was_said_before() -> None:
    pytest.importorskip("espeakng_loader")
    first = synthesize("One two.", Voice("en-us+f2"))
    synthesize("Etwas anderes.", Voice("de"))
    assert (synthesize("One two.", Voice("en-us+f2")).samples == first.samples).all()


def test_unknown_voice_is_named() -> None:
    pytest.importorskip("espeakng_loader")
    with pytest.raises(PoseDubError, match="klingon-upper"):
        synthesize("Hello.", Voice("klingon-upper"))
