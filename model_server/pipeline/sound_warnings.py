"""What an editor should know of the sound of a dub, in sentences with the file's timecodes."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor

from model_server.pipeline.speech.audio import SpeechFile, is_heard
from model_server.pipeline.timecode import timecode
from model_server.pipeline.warnings import FrameWarning

# Shorter stalls are nothing to look at: those of files in fragments, put in by who wrote them.
_WORTH_TELLING = Fraction(1, 10)


def speech_warnings(speech: SpeechFile, fps: Fraction, first: int, end: int) -> Iterator[FrameWarning]:
    """What was met in the sound of the frames `first <= k < end`.

    Kinds: "sound_track" (one of several), "sound_damaged", "sound_stalls", "sound_changes" and "silent".
    """
    track = speech.track
    if track.count > 1:
        name = f"number {track.number}" + f" ({track.name})" * bool(track.name)
        sentence = f"The sound has {track.count} tracks; {name} drives the mouth: choose another one if that is wrong."
        yield FrameWarning(first, end, "sound_track", sentence)
    yield from _flaws(speech, fps)
    if not is_heard(speech, first / fps, end / fps):
        sentence = "Nothing is heard in the sound of this dub; choose another sound, or another of its tracks."
        yield FrameWarning(first, end, "silent", sentence)


def _flaws(speech: SpeechFile, fps: Fraction) -> Iterator[FrameWarning]:
    def at(second: Fraction) -> str:
        return timecode(floor(second * fps), fps)

    def notice(kind: str, begin: Fraction, stop: Fraction, sentence: str) -> FrameWarning:
        frames = floor((begin - speech.start) * fps), ceil((stop - speech.start) * fps)
        return FrameWarning(max(frames[0], 0), max(frames[1], frames[0] + 1), kind, sentence)

    flaws = speech.flaws
    if damaged := flaws.damaged:
        count = "1 packet of the sound is" if len(damaged) == 1 else f"{len(damaged)} packets of the sound are"
        sentence = f"{count} damaged, from {at(damaged[0][0])} to {at(damaged[-1][1])}; silence stands in for them."
        yield notice("sound_damaged", damaged[0][0], damaged[-1][1], sentence)
    if (second := flaws.broken_off) is not None:
        sentence = (
            f"The sound breaks off at {at(second)}: the rest of the file cannot be read; export or copy it again."
        )
        yield notice("sound_damaged", second, second, sentence)
    if stalls := [(begin, stop) for begin, stop in flaws.stalls if stop - begin >= _WORTH_TELLING]:
        times = "once" if len(stalls) == 1 else f"{len(stalls)} times"
        length = float(sum(stop - begin for begin, stop in stalls))
        sentence = f"The sound stalls {times} from {at(stalls[0][0])} on; silence stands there, {length:.2f} s in all."
        yield notice("sound_stalls", stalls[0][0], stalls[-1][1], sentence)
    if changes := flaws.changes:
        times = "" if len(changes) == 1 else f" {len(changes)} times"
        sentence = (
            f"The sound changes its channels or sample rate{times} from {at(changes[0])} on; it was read through."
        )
        yield notice("sound_changes", changes[0], changes[-1], sentence)
