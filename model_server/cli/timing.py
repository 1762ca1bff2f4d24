"""How the files of a command lie in time: each on its own axis, whose second 0 is where its first track begins.

All files begin together. Frame 0 of a dub is shown at second 0, in footage where its first picture is.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

from model_server.errors import PoseDubError
from model_server.pipeline.media.sandboxed import open_footage, pictures_begin
from model_server.pipeline.speech.sandboxed import speech_duration

# Part of a frame by which sums of rounded timestamps may miss a frame's end.
_ROUNDING = Fraction(1, 100)


def first_second(footage: Path | None) -> Fraction:
    """Second of all files at which frame 0 of the dub is shown."""
    return _begin(footage) if footage else Fraction(0)


def picture_second(path: Path, second: Fraction) -> Fraction:
    """A second of a file, counted from its first picture on."""
    return second - _begin(path)


def _begin(path: Path) -> Fraction:
    try:
        return pictures_begin(path)
    except PoseDubError:  # the dub itself says what is wrong with the file, and what it is for
        return Fraction(0)


def frames_of_sound(sound: Path, track: int, first: Fraction, fps: Fraction) -> int:
    """Frames from `first_second` to the end of the sound."""
    return math.ceil((speech_duration(sound, track) - first) * fps)


def frames_of_footage(footage: Path, sound_frames: int, fps: Fraction) -> int:
    """Frames of footage that is dubbed to its own sound: all its pictures, and more if the sound goes on.

    Less than a frame of sound behind the last picture is what encoders pad.
    """
    pictures = math.ceil(open_footage(footage).duration * fps - _ROUNDING)
    return pictures if sound_frames <= pictures + 1 else sound_frames
