"""How well a recogniser hears voices nobody trained it on: phoneme errors in quiet, noise and on the telephone; times.

Phoneme error rate: substitutions, insertions and deletions of units by the Levenshtein distance, over the units of
the text's pronunciation by eSpeak NG, which is itself no transcript of what this speaker said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.shards import Corpus, Entry
from model_server.corpus.speech.align import align_text, align_words
from model_server.corpus.speech.build import recorded_sound
from model_server.corpus.speech.clips import SpeechClip, decoded_samples, read_speech_clip
from model_server.corpus.speech.layouts import SpeechSource, read_align
from model_server.engines.speech_recogniser import SpeechRecogniser
from model_server.synthetic.pronunciation import UNITS, Word
from model_server.training.recogniser.background import noise
from model_server.training.recogniser.sound_augment import loudness, mixed, telephone

Samples = NDArray[np.float32]

CONDITIONS: dict[str, Callable[[Samples, np.random.Generator], Samples]] = {
    "clean": lambda samples, rng: samples,
    "20 dB": lambda samples, rng: mixed(samples, noise(rng, len(samples)), 20, loudness(samples)),
    "10 dB": lambda samples, rng: mixed(samples, noise(rng, len(samples)), 10, loudness(samples)),
    "telephone": lambda samples, rng: telephone(samples),
}


@dataclass
class Tally:
    """Counts of one group of clips under one condition.

    Attributes:
        units, errors: of the texts, and in what was heard.
        clips: how many.
        speakers: their names.
        sound, listening: seconds of sound, and of listening to it.
    """

    units: int = 0
    errors: int = 0
    clips: int = 0
    speakers: set[str] = field(default_factory=set)
    sound: float = 0.0
    listening: float = 0.0

    @property
    def error_rate(self) -> float:
        """Errors for each unit of the texts."""
        return self.errors / max(self.units, 1)

    @property
    def real_time_factor(self) -> float:
        """Seconds of listening for a second of sound."""
        return self.listening / max(self.sound, 1e-9)


def phoneme_errors(
    recogniser: SpeechRecogniser, clips: Sequence[tuple[Corpus, Entry]], progress: Callable[[], None] = lambda: None
) -> dict[str, dict[str, Tally]]:
    """Tallies by collection and condition, in the order in which they appear."""
    tallies: dict[str, dict[str, Tally]] = {}
    for corpus, entry in clips:
        clip = read_speech_clip(corpus, entry.name)
        if clip.units is not None and len(clip.units):
            group = tallies.setdefault(group_of(clip), {name: Tally() for name in CONDITIONS})
            for name, change in CONDITIONS.items():
                _count(group[name], recogniser, clip, change)
        progress()
    return tallies


def group_of(clip: SpeechClip) -> str:
    """What clips are told apart by in the tables: collection and language."""
    return f"{clip.source} ({clip.facts['language'][:2]})"


def _count(tally: Tally, recogniser: SpeechRecogniser, clip: SpeechClip, change: Callable) -> None:
    samples = change(samples_of(clip), np.random.default_rng(list(clip.name.encode())))
    start = time.monotonic()
    heard = decoded_units(recogniser.hear(samples).ctc)
    tally.listening += time.monotonic() - start
    tally.sound += clip.seconds
    assert clip.units is not None
    tally.errors += edit_distance(heard, clip.units.tolist())
    tally.units += len(clip.units)
    tally.clips += 1
    tally.speakers.add(clip.identity)


def samples_of(clip: SpeechClip) -> Samples:
    """A clip's sound in [-1, 1]."""
    return decoded_samples(clip.sound)


def decoded_units(ctc: NDArray[np.floating]) -> list[int]:
    """Units of CTC scores (t, 1 + units) by the best class of each step (Graves et al. 2006)."""
    best = ctc.argmax(axis=1)
    first = np.concatenate([[True], best[1:] != best[:-1]])
    return [int(unit) - 1 for unit in best[first] if unit]


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Levenshtein distance."""
    above = np.arange(len(other) + 1)
    places = np.arange(len(other) + 1)
    target = np.asarray(other)
    for k, value in enumerate(one, 1):
        best = np.minimum(above[1:] + 1, above[:-1] + (target != value))
        row = np.concatenate([[k], best])
        # Insertions along the row: the least of what lies to the left, one more for each place.
        above = np.minimum.accumulate(row - places) + places
    return int(above[-1])


def start_errors(recogniser: SpeechRecogniser, clips: Sequence[tuple[Corpus, Entry]]) -> NDArray[np.float64]:
    """Seconds by which the aligner misses the starts of phoneme units whose times are exactly known."""
    errors: list[float] = []
    for corpus, entry in clips:
        clip = read_speech_clip(corpus, entry.name)
        if clip.unit_times is not None and clip.facts.get("times") != "aligned":
            errors += _unit_start_errors(recogniser, clip)
    return np.array(errors)


def _unit_start_errors(recogniser: SpeechRecogniser, clip: SpeechClip) -> Iterator[float]:
    assert clip.unit_times is not None
    spoken = clip.unit_times[:, 0] >= 0
    said = clip.unit_times[spoken]
    # What lies between two pauses is one word.
    places = np.flatnonzero(spoken)
    pieces = np.split(said[:, 0], np.flatnonzero(np.diff(places) > 1) + 1)
    words = [Word("", tuple(UNITS[int(unit)] for unit in piece)) for piece in pieces]
    found = align_words(samples_of(clip), words, recogniser).phonemes
    return (abs(p.start - float(start)) for p, start in zip(found, said[:, 1], strict=True))


def word_start_errors(
    recogniser: SpeechRecogniser, sources: Sequence[SpeechSource], progress: Callable[[], None] = lambda: None
) -> NDArray[np.float64]:
    """Seconds by which the aligner misses the starts of words in videos of GRID, whose `.align` tell them."""
    errors: list[float] = []
    for source in sources:
        told = read_align(source.path.with_suffix(".align"))
        found = align_text(recorded_sound(source), source.text, source.language, recogniser).words
        errors += [abs(word.start - start) for word, (_, start, _) in zip(found, told, strict=True)]
        progress()
    return np.array(errors)
