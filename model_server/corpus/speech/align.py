"""Words and phonemes of a recording with their times, from its text; as TextGrid (Praat) or a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.speech.clips import SAMPLE_RATE
from model_server.corpus.speech.forced_alignment import Span, align_units
from model_server.engines.speech_recogniser import SpeechRecogniser
from model_server.errors import PoseDubError
from model_server.synthetic.pronunciation import Word, pronounce, units_of
from model_server.synthetic.speech import Phoneme


@dataclass(frozen=True)
class TimedWord:
    """A word, start and end in seconds, and how well it fits, 0 to 1."""

    text: str
    start: float
    end: float
    score: float


@dataclass(frozen=True)
class Alignment:
    """What is said when in a recording of `seconds`; what lies between is silence."""

    seconds: float
    words: tuple[TimedWord, ...]
    phonemes: tuple[Phoneme, ...]

    def textgrid(self) -> str:
        """Praat's long text format, tiers `words` and `phonemes`, without gaps."""
        tiers = (
            ("words", [(word.text, word.start, word.end) for word in self.words]),
            ("phonemes", [(p.symbol, p.start, p.end) for p in self.phonemes]),
        )
        head = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {self.seconds:.4f}"]
        body = [line for k, (name, spans) in enumerate(tiers, 1) for line in _tier(k, name, spans, self.seconds)]
        return "\n".join([*head, "tiers? <exists>", f"size = {len(tiers)}", "item []:", *body]) + "\n"

    def table(self) -> str:
        """Tab-separated lines: tier, start, end, text; a heading first."""
        rows = [("word", w.start, w.end, w.text) for w in self.words]
        rows += [("phoneme", p.start, p.end, p.symbol) for p in self.phonemes]
        return "tier\tstart\tend\ttext\n" + "".join(f"{t}\t{a:.4f}\t{b:.4f}\t{x}\n" for t, a, b, x in rows)


def align_text(samples: NDArray[np.float32], text: str, language: str, recogniser: SpeechRecogniser) -> Alignment:
    """Find the words of a text in mono 16 kHz sound.

    Raises:
        PoseDubError: the text holds no words, or more than fit into the sound.
    """
    return align_words(samples, pronounce(text, language), recogniser)


def align_words(samples: NDArray[np.float32], words: Sequence[Word], recogniser: SpeechRecogniser) -> Alignment:
    """As `align_text`, of words whose pronunciation is known."""
    spoken = [word for word in words if word.units]
    if not spoken:
        raise PoseDubError("The text holds no words to be found in the sound; give what is said in it.")
    seconds = len(samples) / SAMPLE_RATE
    try:
        spans = align_units(recogniser.hear(samples), [word.units for word in spoken])
    except ValueError as error:
        raise PoseDubError(f"The text is too long for its sound ({error}); check that they belong together.") from error
    by_number = {span.number: span for span in spans if span.number >= 0}
    return _put_together(spoken, by_number, seconds)


def _put_together(words: Sequence[Word], spans: dict[int, Span], seconds: float) -> Alignment:
    timed, phonemes, number = [], [], 0
    for place, word in enumerate(words):
        first = number
        for symbol in word.phonemes:
            count = len(units_of(symbol))
            if count:
                end = min(spans[number + count - 1].end, seconds)
                phonemes.append(Phoneme(symbol, spans[number].start, end, place))
            number += count
        mine = [spans[k] for k in range(first, number)]
        score = float(np.mean([span.score for span in mine]))
        timed.append(TimedWord(word.text, mine[0].start, min(mine[-1].end, seconds), score))
    return Alignment(seconds, tuple(timed), tuple(phonemes))


def _tier(number: int, name: str, spans: Sequence[tuple[str, float, float]], seconds: float) -> list[str]:
    filled = _filled(spans, seconds)
    lines = [
        f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"', "        xmin = 0",
        f"        xmax = {seconds:.4f}", f"        intervals: size = {len(filled)}",
    ]  # fmt: skip
    for k, (text, start, end) in enumerate(filled, 1):
        quoted = text.replace('"', '""')
        lines += [
            f"        intervals [{k}]:", f"            xmin = {start:.4f}", f"            xmax = {end:.4f}",
            f'            text = "{quoted}"',
        ]  # fmt: skip
    return lines


def _filled(spans: Sequence[tuple[str, float, float]], seconds: float) -> list[tuple[str, float, float]]:
    """Spans with empty ones wherever there is a gap."""
    filled: list[tuple[str, float, float]] = []
    at = 0.0
    for text, start, end in spans:
        if start > at + 1e-4:
            filled.append(("", at, start))
        filled.append((text, max(start, at), end))
        at = end
    return [*filled, ("", at, seconds)] if seconds > at + 1e-4 else filled
