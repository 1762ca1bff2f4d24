"""Speech with phoneme timing from eSpeak NG, through the optional `espeakng-loader` wheel.

eSpeak NG is GPL-3; it is a training tool here and is imported only when speech is asked for. Phoneme events are read
by the library's callback, since its command line prints no times for its own voices.
"""

from __future__ import annotations

import _ctypes
import ctypes
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from model_server.errors import ErrorKind, PoseDubError

SYNCHRONOUS = 2
PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT = 0x1, 0x2, 0x8000
RATE, PITCH, PITCH_RANGE = 1, 3, 4
LIST_END, WORD, PHONEME = 0, 1, 7
POSITION_CHARACTER, CHARACTERS_UTF8 = 1, 1


@dataclass(frozen=True)
class Phoneme:
    """One phoneme: IPA symbol (empty for a pause), start and end in seconds, and number of its word, -1 for none."""

    symbol: str
    start: float
    end: float
    word: int = -1


@dataclass(frozen=True)
class WordMark:
    """Where a spoken word begins: character of the text, and seconds of the sound."""

    position: int
    start: float


@dataclass(frozen=True)
class Speech:
    """Synthesised speech: samples (N,) float32 in -1..1, their rate in Hz, phonemes and beginnings of words in order.

    Attributes:
        words: short words that are spoken as one with the word before them have no beginning of their own.
        written: all phonemes, also those without a time of their own, which are spoken together with a neighbour.
    """

    samples: npt.NDArray[np.floating]
    sample_rate: int
    phonemes: tuple[Phoneme, ...]
    words: tuple[WordMark, ...] = ()
    written: tuple[Phoneme, ...] = ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class Voice:
    """An eSpeak NG voice: name such as `en-us+f2`, words per minute, pitch and pitch range 0..100."""

    name: str = "en-us"
    rate: int = 165
    pitch: int = 50
    pitch_range: int = 50


def silence(seconds: float, sample_rate: int) -> Speech:
    """A pause."""
    return Speech(np.zeros(round(seconds * sample_rate), np.float32), sample_rate, (Phoneme("", 0.0, seconds),))


def joined(parts: Sequence[Speech]) -> Speech:
    """Speeches of one rate after each other; beginnings of words are left out."""
    phonemes: list[Phoneme] = []
    at = 0.0
    for part in parts:
        phonemes += [Phoneme(p.symbol, p.start + at, p.end + at) for p in part.phonemes]
        at += part.duration
    return Speech(np.concatenate([part.samples for part in parts]), parts[0].sample_rate, tuple(phonemes))


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def synthesize(text: str, voice: Voice | None = None) -> Speech:
    """Speaks a text; the same text and voice give the same samples. One call at a time per process.

    Raises:
        PoseDubError: espeakng-loader is not installed, the library does not start, or the voice is unknown.
    """
    recorder = _Recorder()
    callback = _Callback(recorder.receive)
    with _opened_library() as (library, rate):
        library.espeak_SetSynthCallback(callback)
        _select(library, voice or Voice())
        data = text.encode()
        library.espeak_Synth(data, len(data) + 1, 0, POSITION_CHARACTER, 0, CHARACTERS_UTF8, None, None)
        library.espeak_Synchronize()
    samples = np.concatenate([np.zeros(0, np.int16), *recorder.samples])
    written = _phonemes(recorder.marks, len(samples) / rate)
    heard = tuple(phoneme for phoneme in written if phoneme.end > phoneme.start)
    return Speech(samples.astype(np.float32) / 32768.0, rate, heard, tuple(recorder.words), written)


class _Recorder:
    """Collects the sound, phoneme starts (symbol, seconds, word) and words that the library hands to its callback."""

    def __init__(self) -> None:
        self.samples: list[npt.NDArray[np.int16]] = []
        self.marks: list[tuple[str, float, int]] = []
        self.words: list[WordMark] = []

    def receive(self, samples: ctypes._Pointer, count: int, events: ctypes._Pointer) -> int:
        if count > 0 and samples:
            self.samples.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != LIST_END:
            event, seconds = events[index], events[index].audio_position / 1000.0
            if event.type == PHONEME:
                name = event.id.string.decode(errors="ignore")
                self.marks.append((name, seconds, len(self.words) - 1))
            elif event.type == WORD:
                self.words.append(WordMark(event.text_position - 1, seconds))
            index += 1
        return 0


def _select(library: ctypes.CDLL, voice: Voice) -> None:
    if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise PoseDubError(f"eSpeak NG has no voice {voice.name!r}: choose one such as en-us, en-gb-x-rp or en-us+f2.")
    for parameter, value in ((RATE, voice.rate), (PITCH, voice.pitch), (PITCH_RANGE, voice.pitch_range)):
        library.espeak_SetParameter(parameter, value, 0)


@contextmanager
def _opened_library() -> Iterator[tuple[ctypes.CDLL, int]]:
    """The started library and its sample rate, unloaded afterwards.

    The synthesiser keeps state between texts (breath noise, flutter) that its own termination leaves behind; loading
    it anew takes 8 ms and gives the same samples every time.
    """
    loader = _espeakng_loader()
    library = ctypes.CDLL(loader.get_library_path())
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
        ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    try:
        options = PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT
        rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(loader.get_data_path()).encode(), options)
        if rate <= 0:
            raise PoseDubError("eSpeak NG did not start: reinstall espeakng-loader.", ErrorKind.UNAVAILABLE)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        yield library, rate
        library.espeak_Terminate()
    finally:
        if sys.platform == "win32":
            _ctypes.FreeLibrary(library._handle)
        else:
            _ctypes.dlclose(library._handle)


def _espeakng_loader() -> ModuleType:
    try:
        return importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise PoseDubError(
            "Speech synthesis needs the optional wheel espeakng-loader: install it with pip install espeakng-loader.",
            ErrorKind.UNSUPPORTED,
        ) from error


def _phonemes(marks: list[tuple[str, float, int]], duration: float) -> tuple[Phoneme, ...]:
    """Phonemes end where the next one starts."""
    ends = [start for _, start, _ in marks[1:]] + [duration]
    spans = zip(marks, ends, strict=True)
    return tuple(Phoneme(name.strip("_: "), start, end, word) for (name, start, word), end in spans)
