"""What a text sounds like in any language of eSpeak NG: words, their phonemes, and one set of units for all languages.

A unit is one letter of the IPA without stress, length and other marks: a diphthong or an affricate is two units, so
languages share nearly all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from model_server.synthetic.speech import Phoneme, Speech, Voice, synthesize

# The order is part of trained weights.
UNITS = (*"pbtdkɡʔqmnŋɲfvθðszʃʒçxhβʁɹrɾlʎjwɥcɟɕʑʂʐ", *"iyɨuɪʏʊeøɤoəɚɜɛœʌɔæaɐɑɒɯ")
_NUMBERS = {unit: number for number, unit in enumerate(UNITS)}
# Rare letters take the place of the nearest frequent one.
_FOLDED = str.maketrans(
    "ʉɘɵɝᵻɞɫɭɬɮɱɳɴɸʋʍɰɣɦħʕχʀʝʈɖɗɓɠɽɻɺgʙⱱʟʄʛǀǃǂǁ",
    "uəøɚɪœllllmnŋfvwɡɡhhʔxʁjtddbɡɾɹɾɡbvlɟɡtttt",
)
# The first half of a diphthong is the longer one.
_FIRST_SHARE = 0.6
_VOICES = {"en": "en-us"}


@dataclass(frozen=True)
class Word:
    """A word as it is written, and its phonemes in eSpeak NG's IPA, none where it is not spoken."""

    text: str
    phonemes: tuple[str, ...]

    @property
    def units(self) -> tuple[int, ...]:
        """Numbers of its units in `UNITS`."""
        return tuple(unit for symbol in self.phonemes for unit in units_of(symbol))


def voice_for(language: str) -> str:
    """eSpeak NG's voice for a language code such as "en" or "de"."""
    return _VOICES.get(language, language)


def units_of(symbol: str) -> tuple[int, ...]:
    """Numbers in `UNITS` of a phoneme as eSpeak NG writes it; none for pauses and marks of a change of language."""
    if symbol.startswith("("):
        return ()
    return tuple(_NUMBERS[letter] for letter in symbol.translate(_FOLDED) if letter in _NUMBERS)


def pronounce(text: str, language: str = "en") -> list[Word]:
    """Words and phonemes of a text; a language may be any voice of eSpeak NG.

    Raises:
        PoseDubError: espeakng-loader is not installed, or there is no such language.
    """
    return spoken_words(text, synthesize(text, Voice(voice_for(language))))


def spoken_words(text: str, speech: Speech) -> list[Word]:
    """The words of a text that was spoken, each with its phonemes.

    eSpeak NG speaks short words as one with their neighbour; these share out the phonemes by the length of each.
    """
    written = [match for match in re.finditer(r"\S+", text) if _bare(match[0])]
    if not written:
        return []
    owners = [_owner(written, mark.position) for mark in speech.words]
    symbols: dict[int, list[str]] = {}
    for phoneme in speech.written:
        if phoneme.word >= 0 and units_of(phoneme.symbol):
            symbols.setdefault(owners[phoneme.word], []).append(phoneme.symbol)
    spoken = sorted({0, *owners})
    found = []
    for begin, end in zip(spoken, [*spoken[1:], len(written)], strict=True):
        found += _shared([_bare(match[0]) for match in written[begin:end]], symbols.get(begin, []))
    return found


def _owner(written: list[re.Match[str]], position: int) -> int:
    """Number of the word that a character of the text belongs to."""
    return max(0, sum(word.start() <= position for word in written) - 1)


def unit_times(phonemes: Sequence[Phoneme]) -> list[tuple[int, float, float]]:
    """Unit, start and end in seconds of phonemes with times; those of one phoneme follow each other within it."""
    times = []
    for phoneme in phonemes:
        units = units_of(phoneme.symbol)
        edges = _divided(phoneme.start, phoneme.end, len(units))
        times += [(unit, edges[k], edges[k + 1]) for k, unit in enumerate(units)]
    return times


def _divided(start: float, end: float, count: int) -> list[float]:
    if count < 2:
        return [start, end]
    first = start + (end - start) * (_FIRST_SHARE if count == 2 else 1 / count)
    return [start, *(first + (end - first) * k / (count - 1) for k in range(count - 1)), end]


def _bare(word: str) -> str:
    """A word without marks around it."""
    return word.strip("\"'“”„«»‚‘’.,;:!?¿¡()[]{}…–—-")


def _shared(words: list[str], symbols: list[str]) -> list[Word]:
    """Words with their part of the phonemes that they are spoken with."""
    if len(words) < 2:
        return [Word(word, tuple(symbols)) for word in words]
    letters = [len(word) for word in words]
    edges = [round(len(symbols) * sum(letters[:k]) / sum(letters)) for k in range(len(words) + 1)]
    return [Word(word, tuple(symbols[edges[k] : edges[k + 1]])) for k, word in enumerate(words)]
