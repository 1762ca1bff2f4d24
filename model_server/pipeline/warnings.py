"""What an editor should look at, in sentences with the source's timecodes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.pose import PoseTrack, changes, flagged
from model_server.pipeline.faces.tracking import Absence
from model_server.pipeline.media.appearance import Appearance
from model_server.pipeline.request import OutputMode
from model_server.pipeline.timecode import frames_text, timecode

CHOOSE = ": choose a face to take another"
"""How a sentence on several faces ends."""
ABOUT_SOURCES = ("several_faces", "transparent", "hdr", "shown_otherwise", "device")
"""Kinds that concern a whole source, or the server, and none of the frames more than others."""
_ABSENCES = {
    Absence.NO_FACE: ("no_face", "The face is gone from the footage"),
    Absence.TURNED_AWAY: ("turned_away", "The face is turned away or covered in the footage"),
    Absence.CUT_OFF: ("cut_off", "The face is cut off by the picture's edge in the footage"),
}


@dataclass(frozen=True)
class FrameWarning:
    """Something about the frames `first <= k < end` of a dub.

    Attributes:
        kind: "no_face", "turned_away", "cut_off", "several_faces", "transparent", "scene_cut", "covered",
            "pose_loops", "hdr", "shown_otherwise", or as `sound_notices.speech_notices` says.
        message: one sentence.
    """

    first: int
    end: int
    kind: str
    message: str


@dataclass(frozen=True)
class Source:
    """Which frame of a movie each frame of the dub shows.

    Attributes:
        name: in a sentence, "the footage".
        frames: movie frames, (n,).
        fps: average frames per second of the movie.
    """

    name: str
    frames: NDArray[np.int64]
    fps: Fraction

    def at(self, position: int) -> str:
        """Timecode of what is shown at a position."""
        return timecode(int(self.frames[position]), self.fps)

    def between(self, first: int, end: int) -> str:
        """Timecodes from the first to behind the last picture shown at these positions."""
        shown = self.frames[first:end]
        return f"{timecode(int(shown.min()), self.fps)} to {timecode(int(shown.max()) + 1, self.fps)}"


def portrait_warnings(faces: int, transparent: bool, frames: int) -> Iterator[FrameWarning]:
    """What was decided about the portrait, in all `frames` of a dub.

    Args:
        faces: how many were seen when the largest was taken.
        transparent: whether parts of it can be seen through.
    """
    yield from _several("the portrait", faces, frames)
    if transparent:
        sentence = "The portrait is transparent in places; grey is seen there: lay it over a background of your own."
        yield FrameWarning(0, frames, "transparent", sentence)


def appearance_warnings(look: Appearance, mode: OutputMode, count: int) -> Iterator[FrameWarning]:
    """Where the footage's pictures are not quite what its file asks for; about all `count` frames of the dub."""
    if look.colour.is_hdr:
        yield FrameWarning(0, count, "hdr", _hdr_sentence(look))
    if look.viewer == "blender" and _only_asked(look):
        sentence = (
            f"The footage's file asks to be shown {_only_asked(look)} and Blender does not do so; the dub fits Blender."
        )
        yield FrameWarning(0, count, "shown_otherwise", sentence)
    elif mode == "full_frame" and look.natural_size != look.size:
        (width, height), (wide, high) = look.size, look.natural_size
        sentence = (
            f"The footage's pixels are no squares: frames have its own {width}x{height}, to be shown {wide}x{high}."
        )
        yield FrameWarning(0, count, "shown_otherwise", sentence)


def _only_asked(look: Appearance) -> str:
    """What the file asks for and Blender leaves out."""
    asked = {
        "mirrored": look.asked.mirrored,
        "turned": not look.asked.mirrored and look.asked.turns != look.geometry.turns,
        "{}x{}".format(*look.natural_size): look.natural_size != look.size,
    }
    return " and ".join(word for word, wanted in asked.items() if wanted)


def _hdr_sentence(look: Appearance) -> str:
    kind = f"The footage is HDR ({look.colour.curve})"
    if look.keeps_hdr:
        return f"{kind}; the dub keeps its colours, and the face is drawn in standard range and fitted to them."
    return f"{kind}; faces and frames are brought to standard range (BT.2390), with HDR's white of 203 cd/m2 as white."


def pose_warnings(track: PoseTrack) -> Iterator[FrameWarning]:
    """Where the pose source has several faces or none, cuts or ends."""
    source = Source("the pose source", track.frames, track.fps)
    yield from _several(source.name, track.faces, len(track.frames))
    for first, end in track.without_face:
        where = source.between(first, end)
        yield FrameWarning(
            first, end, "no_face", f"No face was found in the pose source at {where}; the last pose is held."
        )
    yield from _cuts(source, track.cuts)
    yield from _loops(source, track.loops_from)


def footage_warnings(
    source: Source,
    faces: int,
    absences: NDArray[np.int64],
    shots: NDArray[np.int64],
    loops_from: int | None,
    kept: bool,
) -> Iterator[FrameWarning]:
    """Whether the footage has several faces, where the one taken cannot be used, where the footage cuts and ends.

    Args:
        faces: how many were seen when the largest was taken.
        absences: `Absence` of each frame of the dub, (n,).
        shots: number of its shot, (n,).
        kept: whether faces turned away or cut off stay as they are.
    """
    yield from _several(source.name, faces, len(absences))
    for absence, (kind, sentence) in _ABSENCES.items():
        stays = kept or absence is Absence.NO_FACE
        for first, end in flagged(absences == absence):
            outcome = f"{_counted(end - first)} as in the footage" if stays else "it is dubbed all the same"
            yield FrameWarning(first, end, kind, f"{sentence} at {source.between(first, end)}; {outcome}.")
    yield from _cuts(source, changes(shots))
    yield from _loops(source, loops_from)


def covered_warnings(source: Source, covered: Collection[int], start: int) -> Iterator[FrameWarning]:
    """Where too much of the face is covered to draw its lower part.

    Args:
        covered: positions in the source.
        start: frame of the dub at position 0.
    """
    flags = np.zeros(len(source.frames), np.bool_)
    flags[list(covered)] = True
    for first, end in flagged(flags):
        where, kept = source.between(first, end), _counted(end - first)
        sentence = f"Something covers the mouth in the footage at {where}; {kept} as in the footage."
        yield FrameWarning(start + first, start + end, "covered", sentence)


def _several(name: str, faces: int, frames: int) -> Iterator[FrameWarning]:
    if faces > 1:
        taken = "larger" if faces == 2 else "largest"
        sentence = f"{faces} faces are seen in {name}; the {taken} one is taken{CHOOSE}."
        yield FrameWarning(0, frames, "several_faces", sentence)


def _counted(frames: int) -> str:
    return f"{frames_text(frames)} {'stays' if frames == 1 else 'stay'}"


def _cuts(source: Source, cuts: tuple[int, ...]) -> Iterator[FrameWarning]:
    for cut in cuts:
        sentence = f"{source.name.capitalize()} cuts to another shot at {source.at(cut)}; check that the face is right."
        yield FrameWarning(cut, cut + 1, "scene_cut", sentence)


def _loops(source: Source, first: int | None) -> Iterator[FrameWarning]:
    if first is not None:
        still = len(np.unique(source.frames)) == 1
        goes_on = "it stands still" if still else "it is traversed back and forth"
        sentence = f"{source.name.capitalize()} is shorter than the dub; from here on {goes_on}."
        yield FrameWarning(first, len(source.frames), "pose_loops", sentence)
