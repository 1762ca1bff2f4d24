"""From strips to the files and times of a dub's sources.

Sources (times in frames of the timeline, measured against Blender's renders):
a movie strip shows its frame `offset + floor((frame - content_start) * k + 1/2)`,
where k is movie rate over scene rate when the strip adjusts its playback rate,
else 1. An image sequence is a movie of the scene's rate, put together in the
background. Under a Speed effect both show another timeline frame's picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from pathlib import Path

import bpy

from ...core import sequences, timebase
from ...core.errors import AddonError
from ...core.faces import CropMode
from ...core.output import FootageSource
from ...core.plan import PortraitSource, PoseSource
from .. import preferences
from ..bl import sequencer, visibility
from . import face_choice

SEQUENCES = "sequences"
"""Folder of the movies made of image sequences."""
HALF = Fraction(1, 2)
PICTURES = ("IMAGE", "MOVIE")


@dataclass(frozen=True)
class MovieClock:
    """Which moment of a movie file a strip shows.

    Attributes:
        rate: frames per second of the movie.
        step: movie frames per timeline frame.
        origin: movie frame at timeline frame 0, not rounded.
        rounding: what is added before a movie frame is cut to a whole number.
    """

    rate: Fraction
    step: Fraction
    origin: Fraction
    rounding: Fraction = HALF

    def seconds(self, frame: int) -> Fraction:
        """Time whose movie frame, floor(time * rate), is the one shown at a timeline frame."""
        return (self.origin + frame * self.step + self.rounding) / self.rate

    def seen(self, warp: visibility.Warp) -> MovieClock:
        """The clock where the strip is seen at other frames than its own."""
        return replace(self, step=self.step * warp.rate, origin=self.origin + self.step * warp.origin)


def movie_clock(scene: bpy.types.Scene, strip: bpy.types.Strip, file: Path) -> MovieClock:
    """Read the clock of a movie or image sequence as it is seen; raises AddonError where that is no steady one."""
    warp = visibility.warp(scene, strip)
    clock = _own_clock(scene, strip, file).seen(warp)
    # Between two frames Blender shows the nearer one of a movie, and the earlier one of an image sequence.
    return replace(clock, rounding=HALF / warp.rate.denominator) if strip.type == "IMAGE" else clock


def _own_clock(scene: bpy.types.Scene, strip: bpy.types.Strip, file: Path) -> MovieClock:
    if strip.type == "IMAGE":
        rate, offset = sequencer.fps(scene), int(strip.animation_offset_start)
        return MovieClock(rate, Fraction(1), Fraction(offset - sequencer.content_start(strip)))
    rate = timebase.media_fps(strip.fps) or sequencer.fps(scene)  # none where Blender itself cannot play the movie
    step = rate / sequencer.fps(scene) if _adjusts_rate(strip, file) else Fraction(1)
    return MovieClock(rate, step, strip.animation_offset_start - sequencer.content_start(strip) * step)


def require_plain(scene: bpy.types.Scene, strip: bpy.types.Strip) -> None:
    """Raise AddonError for a strip that shows something else than the pictures of its file's first video stream."""
    if getattr(strip, "stream_index", 0) > 0:
        raise AddonError(
            f'The strip "{strip.name}" shows video stream {strip.stream_index} of its file.',
            "Export that stream to a file of its own.",
        )
    if scene.render.use_multiview and strip.use_multiview:
        raise AddonError(f'The strip "{strip.name}" is stereoscopic.', "Render one eye's view to a file.")


def is_playable(strip: bpy.types.Strip) -> bool:
    """Whether Blender shows anything of a strip: of a movie that states no frame rate it does not."""
    return strip.type != "MOVIE" or strip.fps > 0


def playing(scene: bpy.types.Scene, strip: bpy.types.Strip) -> tuple[int, int]:
    """Timeline frames first <= f < end in which a strip is seen, and does not hold its first or last picture."""
    first, end = sequencer.span(strip)
    if not (sequencer.is_moving(strip) and is_playable(strip)):
        return first, end
    start, seen = sequencer.content_start(strip), visibility.warp(scene, strip)
    stop = start + sequencer.content_length(strip)
    return max(first, ceil((start - seen.origin) / seen.rate)), min(end, ceil((stop - seen.origin) / seen.rate))


def _adjusts_rate(strip: bpy.types.Strip, file: Path) -> bool:
    """Blender tells no flag, but a strip that plays frame by frame is as long as its movie."""
    frames = _movie_frames(str(file), file.stat().st_mtime_ns)
    return sequencer.content_length(strip) != frames - strip.animation_offset_start - strip.animation_offset_end


@lru_cache(maxsize=64)
def _movie_frames(file: str, _modified: int) -> int:
    clip = bpy.data.movieclips.load(file, check_existing=False)
    try:
        return int(clip.frame_duration)
    finally:
        bpy.data.movieclips.remove(clip)


def strip_file(scene: bpy.types.Scene, strip: bpy.types.Strip, frame: int) -> Path:
    """File of a movie strip, or of the picture that an image strip by itself shows at a frame; raises AddonError."""
    require_plain(scene, strip)
    path = strip.filepath if strip.type == "MOVIE" else strip.directory + _element(strip, frame)
    file = sequencer.absolute(path, scene)
    if not file.is_file():
        raise AddonError(f'The file of strip "{strip.name}" is gone: {file}.', "Relink or replace the strip.")
    return file


def _element(strip: bpy.types.Strip, frame: int) -> str:
    index = frame - sequencer.content_start(strip) + int(strip.animation_offset_start)
    return str(strip.elements[min(max(index, 0), len(strip.elements) - 1)].filename)


def sequence(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Path:
    """The movie that an image sequence becomes before it is read; raises AddonError when a picture is gone."""
    require_plain(scene, strip)
    folder = sequencer.absolute(strip.directory, scene)
    files = [folder / element.filename for element in strip.elements]
    return sequences.describe(files, sequencer.fps(scene), preferences.user_folder(SEQUENCES))


def moment(scene: bpy.types.Scene, strip: bpy.types.Strip, frame: int) -> tuple[Path, Fraction]:
    """File, and second of a movie or sequence, that a strip shows at a timeline frame, or at its end nearest to it."""
    if not sequencer.is_moving(strip):
        return strip_file(scene, strip, frame), Fraction(0)
    first, end = playing(scene, strip)
    frame = max(min(frame, end - 1), first)
    file = strip_file(scene, strip, floor(visibility.warp(scene, strip).at(frame)))
    return file, max(Fraction(0), movie_clock(scene, strip, file).seconds(frame))


def portrait(scene: bpy.types.Scene, strip: bpy.types.Strip, crop: CropMode, frame: int) -> PortraitSource:
    """The picture in which the strip's face was chosen, else the one at a timeline frame."""
    face = face_choice.read(strip, crop)
    if strip.type == "IMAGE":
        if face.time is None:
            return PortraitSource(moment(scene, strip, frame)[0], Fraction(0), face)
        frame = sequencer.first_picture(strip) + floor(face.time * sequencer.fps(scene))
        return PortraitSource(strip_file(scene, strip, frame), Fraction(0), replace(face, time=None))
    file, time = moment(scene, strip, frame)
    return PortraitSource(file, time if face.time is None else face.time, face)


def pose(scene: bpy.types.Scene, strip: bpy.types.Strip, first: int, end: int, crop: CropMode) -> PoseSource:
    """The pose of a strip for the timeline frames first <= f < end.

    A strip that overlaps them is read as it lies on the timeline; one that lies
    elsewhere is read from its left handle on.
    """
    begin, stop = sequencer.left(strip), sequencer.right(strip)
    file, start, speed = _played(scene, strip, first if begin < end and first < stop else begin)
    return PoseSource("video", file, face_choice.read(strip, crop), start, speed)


def footage(scene: bpy.types.Scene, strip: bpy.types.Strip, first: int) -> FootageSource:
    """What a strip shows from a timeline frame on."""
    file, start, speed = _played(scene, strip, first)
    return FootageSource(file, face_choice.read(strip), start, speed)


def _played(scene: bpy.types.Scene, strip: bpy.types.Strip, frame: int) -> tuple[Path, Fraction, Fraction]:
    """File, its second that a strip shows at a timeline frame, and its speed."""
    if not sequencer.is_moving(strip):
        return strip_file(scene, strip, frame), Fraction(0), Fraction(1)
    file = sequence(scene, strip) if strip.type == "IMAGE" else strip_file(scene, strip, frame)
    clock = movie_clock(scene, strip, file)
    return file, clock.seconds(frame), clock.step * sequencer.fps(scene) / clock.rate
