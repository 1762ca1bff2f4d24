"""Plans a corpus of voices: recordings with their texts, and eSpeak NG's voices with exact times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from model_server import scratch
from model_server.corpus.build import Made, Plan
from model_server.corpus.sentences import sentence
from model_server.corpus.shards import Dropped, Entry
from model_server.corpus.speech.align import align_words
from model_server.corpus.speech.clips import SAMPLE_RATE, SpeechClip, encoded_sound
from model_server.corpus.speech.layouts import SpeechSource
from model_server.corpus.speech.prosody import energy, pitch
from model_server.corpus.voices import VARIANTS, random_voice
from model_server.engines.speech_recogniser import SpeechRecogniser, load_recogniser
from model_server.errors import PoseDubError
from model_server.networks.speech_recogniser.log_mel import REFERENCE_RMS
from model_server.pipeline.media.containers import open_media, pictures_begin
from model_server.pipeline.speech.audio import decode_speech
from model_server.synthetic.pronunciation import Word, pronounce, unit_times, units_of, voice_for
from model_server.synthetic.speech import Phoneme, Speech, synthesize

_PER_UNIT = 64
_PAUSE = -1
_FITTING = 0.1  # mean score of words from which a text is that of its sound
_SILENT_RMS = 1e-4
_LOUDEST = 0.99
_OWN_TEXTS = 0.5  # part of eSpeak NG's clips that speak texts of the recordings


@dataclass(frozen=True)
class Settings:
    """What a corpus of voices depends on, beside its sources.

    Attributes:
        espeak: clips spoken by eSpeak NG.
        seed: of their texts and voices.
        min_seconds, max_seconds: recordings that are shorter or longer are dropped.
        test: patterns of clips kept for testing, as "librispeech-26-*".
        val: part of the other clips kept for validation.
        recogniser: weights of the one that finds the times of recordings; none to leave them unknown.
    """

    espeak: int = 0
    seed: int = 0
    min_seconds: float = 0.4
    max_seconds: float = 17.0
    test: tuple[str, ...] = ()
    val: float = 0.02
    recogniser: Path | None = None


@dataclass(frozen=True)
class _Spoken:
    """Clips `first` to `end` of eSpeak NG, the unit of work; `texts` are (language, text)."""

    first: int
    end: int
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SpeechMaker:
    """Makes voice clips of some recordings, or of eSpeak NG."""

    settings: Settings

    def __call__(self, unit: Sequence[SpeechSource] | _Spoken) -> Made:
        """Clips of a unit of work; recordings that give none are listed with the reason."""
        if isinstance(unit, _Spoken):
            return [spoken_clip(self.settings.seed, k, unit.texts) for k in range(unit.first, unit.end)], []
        clips: list[SpeechClip] = []
        dropped: list[Dropped] = []
        for source in unit:
            try:
                clips.append(recorded_clip(source, self.settings))
            except PoseDubError as error:
                dropped.append(Dropped(source.name, error.message))
        return clips, dropped


def plan(sources: Sequence[SpeechSource], settings: Settings) -> Plan:
    """Plan of a corpus of voices.

    Raises:
        PoseDubError: speech synthesis, which knows how texts sound, is not installed.
    """
    synthesize("a")
    units: list[Any] = [tuple(sources[k : k + _PER_UNIT]) for k in range(0, len(sources), _PER_UNIT)]
    texts = tuple((s.language, s.text) for s in sources if s.text and not _held_out(s.name, settings))
    for first in range(0, settings.espeak, _PER_UNIT):
        end = min(first + _PER_UNIT, settings.espeak)
        units.append(_Spoken(first, end, tuple(_some(texts, settings.seed, first, _PER_UNIT))))
    recorded = {"generator": "speech", **asdict(settings), "test": list(settings.test)}
    recorded["recogniser"] = settings.recogniser.name if settings.recogniser else None
    recorded["recordings"] = [source.name for source in sources]
    return Plan(units, SpeechMaker(settings), lambda entry: _split(entry, settings), recorded)


def _some(texts: Sequence[tuple[str, str]], seed: int, number: int, count: int) -> list[tuple[str, str]]:
    """A few texts, so that a unit of work stays small."""
    rng = np.random.default_rng([seed, number])
    return [texts[k] for k in rng.integers(len(texts), size=count)] if texts else []


def _split(entry: Entry, settings: Settings) -> str:
    if _held_out(entry.name, settings):
        return "test"
    draw = np.random.default_rng(list(entry.name.encode())).random()
    return "val" if draw < settings.val else "train"


def _held_out(name: str, settings: Settings) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in settings.test)


def recorded_clip(source: SpeechSource, settings: Settings) -> SpeechClip:
    """The clip of a recording.

    Raises:
        PoseDubError: unreadable, too short, too long or silent.
    """
    samples = recorded_sound(source)
    seconds = len(samples) / SAMPLE_RATE
    if not settings.min_seconds <= seconds <= settings.max_seconds:
        raise PoseDubError(f"not between {settings.min_seconds:g} and {settings.max_seconds:g} seconds long")
    words = pronounce(source.text, source.language) if source.text else []
    units = np.array([unit for word in words for unit in word.units], np.int16) if words else None
    times = found_times(samples, words, _recogniser(settings.recogniser)) if words and settings.recogniser else None
    facts = facts_of(source) | ({} if times is None else {"times": "aligned"})
    return _clip(source.name, source.speaker, source.collection, samples, units, times, facts)


def found_times(
    samples: NDArray[np.float32], words: Sequence[Word], recogniser: SpeechRecogniser
) -> NDArray[np.float32] | None:
    """Unit, start and end (m, 3) of what is said, as the aligner finds them; None where the text hardly fits."""
    try:
        found = align_words(samples, words, recogniser)
    except PoseDubError:
        return None
    fit = np.mean([word.score for word in found.words])
    return with_pauses(found.phonemes, found.seconds) if fit > _FITTING else None


def with_pauses(phonemes: Sequence[Phoneme], seconds: float) -> NDArray[np.float32]:
    """Unit, start and end (m, 3) of phonemes and of the pauses around them."""
    rows: list[tuple[int, float, float]] = []
    at = 0.0
    for phoneme in phonemes:
        if phoneme.start > at:
            rows.append((_PAUSE, at, phoneme.start))
        rows += unit_times([phoneme])
        at = phoneme.end
    if seconds > at:
        rows.append((_PAUSE, at, seconds))
    return np.array(rows, np.float32).reshape(-1, 3)


@lru_cache(maxsize=1)
def _recogniser(path: Path) -> SpeechRecogniser:
    return load_recogniser(path)


def recorded_sound(source: SpeechSource) -> NDArray[np.float32]:
    """Mono 16 kHz samples from the first picture on where there are pictures.

    Raises:
        PoseDubError: unreadable or silent.
    """
    with open_media(source.path) as container:
        start = pictures_begin(source.path) if container.streams.video else Fraction(0)
    with scratch.folder() as folder:
        speech = decode_speech(source.path, folder / "speech", start)
        samples = np.fromfile(speech.path, np.float32) - np.float32(speech.offset)
    if speech.rms < _SILENT_RMS:
        raise PoseDubError("silent")
    return samples


def facts_of(source: SpeechSource) -> dict[str, str]:
    """What a clip says of itself."""
    return {"language": source.language, "text": source.text, "licence": source.licence}


def spoken_clip(seed: int, number: int, texts: Sequence[tuple[str, str]]) -> SpeechClip:
    """A clip of eSpeak NG: a random voice, and a text of its language."""
    rng = np.random.default_rng([seed, number, 1])
    if texts and rng.random() < _OWN_TEXTS:
        language, text = texts[rng.integers(len(texts))]
        voice = random_voice(rng, [voice_for(language) + variant for variant in VARIANTS])
    else:
        voice = random_voice(rng)
        language = voice.name[:2]
        text = sentence(rng, language)
    speech = synthesize(text, voice)
    samples = np.asarray(soxr.resample(speech.samples, speech.sample_rate, SAMPLE_RATE), np.float32)
    units = np.array([unit for p in speech.written for unit in units_of(p.symbol)], np.int16)
    facts = {"language": language, "text": text, "licence": "eSpeak NG", "voice": voice.name}
    name = f"espeak-{seed}-{number:06}"
    return _clip(name, f"espeak-{voice.name.replace('+', '_')}", "espeak", samples, units, exact_times(speech), facts)


def exact_times(speech: Speech) -> NDArray[np.float32]:
    """Unit, start and end (m, 3) of all that is said, pauses as unit -1."""
    rows: list[tuple[int, float, float]] = []
    for phoneme in speech.phonemes:
        rows += unit_times([phoneme]) or [(_PAUSE, phoneme.start, phoneme.end)]
    return np.array(rows, np.float32).reshape(-1, 3)


def _clip(
    name: str,
    speaker: str,
    collection: str,
    samples: NDArray[np.float32],
    units: NDArray[np.int16] | None,
    times: NDArray[np.float32] | None,
    facts: dict[str, str],
) -> SpeechClip:
    level = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
    peak = float(np.abs(samples).max(initial=0))
    samples = samples * np.float32(min(REFERENCE_RMS / max(level, 1e-6), _LOUDEST / max(peak, 1e-6)))
    return SpeechClip(
        name, speaker, collection, encoded_sound(samples), len(samples) / SAMPLE_RATE, facts,
        energy(samples).astype(np.float16), pitch(samples).astype(np.float16), units, times,
    )  # fmt: skip
