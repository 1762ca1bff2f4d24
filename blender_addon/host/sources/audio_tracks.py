"""Which sound track of a strip's file drives the mouth: the one that Blender plays, or another one.

Either is cut out of the timeline: trimmed, mixed and as loud as the strip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import bpy

from ...core.errors import AddonError
from ...core.sound_tracks import SoundTrack, sound_tracks
from ..bl import sequencer, sound_fields


def names(strip: bpy.types.Strip) -> tuple[str, ...]:
    """Name of each sound track of a strip's file, "" for none; () where that cannot be told."""
    return tuple(track.name for track in _tracks(strip))


def _tracks(strip: bpy.types.Strip) -> tuple[SoundTrack, ...]:
    if strip.sound is None or strip.sound.packed_file:
        return ()
    file = sequencer.absolute(strip.sound.filepath, strip.sound)
    return _read(file, file.stat().st_mtime_ns) if file.is_file() else ()


@lru_cache(maxsize=64)
def _read(file: Path, _modified: int) -> tuple[SoundTrack, ...]:
    return sound_tracks(file)


def played(strip: bpy.types.Strip) -> int:
    """Number, from 1 on, of the track that Blender plays."""
    return sound_fields.read(strip.sound).stream + 1 if strip.sound else 1


def meant(strip: bpy.types.Strip, number: int) -> int:
    """Number, from 1 on, of the track that drives the mouth; raises AddonError when the file has no such track.

    Args:
        number: the editor's choice, 0 for Blender's track. It is for files of several tracks; of all others Blender's
            track is taken.
    """
    count = len(names(strip))
    if number == 0 or count < 2:
        return played(strip)
    if number > count:
        raise AddonError(
            f'The file of "{strip.name}" has {count} sound tracks, and no number {number}.',
            "Choose another Sound Track.",
        )
    return number


def delay(strip: bpy.types.Strip, number: int) -> Fraction:
    """Seconds by which a track of a strip's file begins later than the one that Blender plays."""
    tracks, here = _tracks(strip), played(strip)
    return tracks[number - 1].begin - tracks[here - 1].begin if max(number, here) <= len(tracks) else Fraction(0)


def title(strip: bpy.types.Strip, number: int) -> str:
    """A track of a strip in a sentence."""
    name = names(strip)[number - 1]
    return f"{number} ({name})" if name else str(number)


def notices(strips: Sequence[bpy.types.Strip], choice: int) -> Iterator[str]:
    """Which of several tracks is heard with the editor's choice, a sentence for each strip of such a file."""
    for strip in strips:
        count, number = len(names(strip)), meant(strip, choice)
        if count > 1 and number <= count:
            why = ", which Blender plays," if number == played(strip) else ""
            yield (
                f'The file of "{strip.name}" has {count} sound tracks; number {title(strip, number)}{why} drives the '
                "mouth: choose another one as Sound Track."
            )
