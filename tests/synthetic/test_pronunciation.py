"""Texts become words and units, whatever the language."""

import pytest

from model_server.synthetic.pronunciation import UNITS, pronounce, spoken_words, unit_times, units_of
from model_server.synthetic.speech import Phoneme, Voice, synthesize

pytest.importorskip("espeakng_loader")


def letters(text: str, language: str = "en") -> list[tuple[str, str]]:
    return [(word.text, "".join(UNITS[unit] for unit in word.units)) for word in pronounce(text, language)]


def test_words_keep_their_phonemes() -> None:
    assert letters("The danger trail, Philip Steels.") == [
        ("The", "ðə"), ("danger", "deɪndʒɚ"), ("trail", "tɹeɪl"), ("Philip", "fɪlɪp"), ("Steels", "stilz"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Most of Caxton's own types are of an earlier character", "en"),
        ("Philip saw MacDougall soon after his short talk", "en"),
        ("Über zwölf Äpfel, die 23 Kinder wohnen in der Straße!", "de"),
        ("Le beau bateau est au bord de l'eau", "fr"),
        ("El buen pan está junto al río", "es"),
    ],
)
def test_every_written_word_is_there_once(text: str, language: str) -> None:
    words = pronounce(text, language)
    assert [word.text for word in words] == [word.strip(",!.") for word in text.split()]
    assert all(word.units for word in words)


def test_no_word_is_no_word() -> None:
    assert pronounce("") == [] == pronounce(" ... ")


def test_marks_and_rare_letters_give_the_same_units() -> None:
    assert units_of("ˈiː") == units_of("i") != units_of("ɪ")
    assert [UNITS[unit] for unit in units_of("tʃ")] == ["t", "ʃ"]
    assert units_of("(en)") == units_of("") == ()
    assert len(set(UNITS)) == len(UNITS)


def test_all_that_is_spoken_is_in_the_words() -> None:
    text = "Nobody found the heavy measure in the bathroom."
    speech = synthesize(text, Voice("en-us"))
    said = [unit for phoneme in speech.written for unit in units_of(phoneme.symbol)]
    assert [unit for word in spoken_words(text, speech) for unit in word.units] == said


def test_units_of_a_diphthong_share_its_time() -> None:
    (first, second) = unit_times([Phoneme("ˈaɪ", 1.0, 1.2)])
    assert first[1] == 1.0 and first[2] == second[1] == pytest.approx(1.12) and second[2] == pytest.approx(1.2)
