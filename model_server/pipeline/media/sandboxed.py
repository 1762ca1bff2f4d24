"""Pictures of any file, read in a process that can do nothing else: functions of `video`, `images` and `containers`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from copy import copy
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.media import containers, images, video
from model_server.pipeline.media.appearance import Appearance
from model_server.pipeline.media.checks import check_file
from model_server.pipeline.media.colour import Colour, Converter
from model_server.pipeline.media.containers import MediaInfo, never
from model_server.pipeline.media.partial import AnyPicture, PartialPicture
from model_server.pipeline.media.timing import Timing
from model_server.pipeline.media.video import Footage, Picture, Still
from model_server.pipeline.request import Viewer
from model_server.sandbox import limits
from model_server.sandbox.channel import Asked
from model_server.sandbox.client import answer, answered

_THREADS = 4


def open_footage(path: Path, viewer: Viewer = "player") -> Footage:
    """`video.open_footage`."""
    path = Path(path)
    check_file(path)
    if not limits.available():
        return video.open_footage(path, viewer)
    opened = answer(_opened, path, viewer)
    return _Movie(path, viewer, opened) if isinstance(opened, Timing) else Still(opened[1], opened[0])


def picture_at(path: Path, time: Fraction, viewer: Viewer = "player") -> Picture:
    """`video.picture_at`."""
    path = Path(path)
    check_file(path)
    if not limits.available():
        return video.picture_at(path, time, viewer)
    return answer(_picture_at, path, time, viewer)


def is_transparent(path: Path) -> bool:
    """`images.is_transparent`."""
    return answer(_is_transparent, path) if limits.available() else images.is_transparent(path)


def probe(path: Path) -> MediaInfo:
    """`containers.probe`."""
    path = Path(path)
    check_file(path)
    return answer(_probe, path) if limits.available() else containers.probe(path)


def pictures_begin(path: Path) -> Fraction:
    """`containers.pictures_begin`."""
    return answer(_pictures_begin, path) if limits.available() else containers.pictures_begin(path)


def prepare(_path: Path) -> None:
    """OpenCV has few threads there: each one's heap counts as memory in use."""
    cv2.setNumThreads(_THREADS)


class _Movie:
    """A movie as footage; each pass through it is a process of its own."""

    def __init__(self, path: Path, viewer: Viewer, timing: Timing) -> None:
        self._path, self._viewer, self._timing = path, viewer, timing
        self._as_stored = False
        self.times = timing.times_for(viewer)
        self.duration = timing.duration

    @cached_property
    def appearance(self) -> Appearance:
        """How the first frame looks."""
        return answer(_appearance, self._path, self._viewer, self._timing)

    @property
    def stored(self) -> _Movie:
        """The same movie whose pictures are in the pixels that the file stores."""
        other = copy(self)
        other._as_stored = True
        return other

    def frame_at(self, time: Fraction) -> Picture:
        """Picture on screen at `time` seconds."""
        return next(self.iter_frames([video.index_at(self.times, time)]))[1]

    def iter_frames(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, Picture]]:
        """Yield (index, uint8 RGB (height, width, 3)) for ascending `indices`."""
        arguments = (self._viewer, self._timing, self._as_stored, Asked)
        yield from answered(_frames, self._path, indices, *arguments, cancelled=cancelled)

    def iter_partly(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, AnyPicture]]:
        """The same of which only what is looked at is converted, here; not of `stored` footage."""
        converters = Converter(), Converter()
        arguments = (self._viewer, self._timing, Asked)
        for (index, colour), picture in answered(_planes, self._path, indices, *arguments, cancelled=cancelled):
            yield index, PartialPicture(picture, colour, converters) if colour else picture


def _opened(path: Path, viewer: Viewer) -> Timing | tuple[Appearance, Picture]:
    footage = video.open_footage(path, viewer)
    return footage.timing if isinstance(footage, video.Video) else (footage.appearance, footage.frame_at(Fraction(0)))


def _picture_at(path: Path, time: Fraction, viewer: Viewer) -> Picture:
    return video.picture_at(path, time, viewer)


def _is_transparent(path: Path) -> bool:
    return images.is_transparent(path)


def _probe(path: Path) -> MediaInfo:
    return containers.probe(path)


def _pictures_begin(path: Path) -> Fraction:
    return containers.pictures_begin(path)


def _appearance(path: Path, viewer: Viewer, timing: Timing) -> Appearance:
    return video.Video(path, viewer, timing).appearance


def _frames(
    path: Path, viewer: Viewer, timing: Timing, stored: bool, asked: Iterator[int]
) -> Generator[tuple[int, NDArray[np.uint8]]]:
    movie = video.Video(path, viewer, timing)
    yield from (movie.stored if stored else movie).iter_frames(asked)


def _planes(
    path: Path, viewer: Viewer, timing: Timing, asked: Iterator[int]
) -> Generator[tuple[tuple[int, Colour | None], NDArray[np.uint8]]]:
    movie = video.Video(path, viewer, timing)
    pictures = movie.pictures()
    for index, frame in movie.decoded(asked):
        planes, colour = pictures.planes(frame) or (pictures.natural(frame), None)
        yield (index, colour), planes
