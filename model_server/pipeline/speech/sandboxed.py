"""Speech of any file, read in a process that can do nothing else: the functions of `audio`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path

from model_server.pipeline.media.checks import check_file
from model_server.pipeline.media.containers import never
from model_server.pipeline.speech import audio
from model_server.pipeline.speech.audio import Samples, SpeechFile, Spoken
from model_server.sandbox import limits
from model_server.sandbox.client import answer, answers


def temporary_speech(
    path: Path, start: Fraction = Fraction(0), cancelled: Callable[[], bool] = never, track: int = 0
) -> SpeechFile:
    """`audio.decode_speech` into a file of its own, which goes when the returned value does."""
    path = Path(path)
    check_file(path)
    if not limits.available():
        return audio.temporary(lambda out: audio.decode_speech(path, out, start, cancelled, track))
    blocks = answers(_spoken, path, start, track, cancelled=cancelled)
    return audio.temporary(lambda out: audio.written(out, blocks, start))


def speech_duration(path: Path, track: int = 0) -> Fraction:
    """`audio.speech_duration`."""
    path = Path(path)
    check_file(path)
    return answer(_duration, path, track) if limits.available() else audio.speech_duration(path, track)


def _spoken(path: Path, start: Fraction, track: int) -> Generator[Samples, None, Spoken]:
    return (yield from audio.spoken(path, start, track))


def _duration(path: Path, track: int) -> Fraction:
    return audio.speech_duration(path, track)
