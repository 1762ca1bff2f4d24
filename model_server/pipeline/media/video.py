"""Pictures by presentation time: movies of any frame rate, also variable, and stills as movies of one frame."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from copy import copy
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media.appearance import Appearance, Pictures
from model_server.pipeline.media.checks import check_file
from model_server.pipeline.media.containers import (
    decode_pictures,
    never,
    open_media,
    read_timing,
    video_stream,
)
from model_server.pipeline.media.geometry import Geometry
from model_server.pipeline.media.images import is_animated, is_turned, load_image
from model_server.pipeline.media.partial import AnyPicture
from model_server.pipeline.media.stills import is_image
from model_server.pipeline.media.timing import Timing
from model_server.pipeline.request import Viewer

Picture = NDArray[np.uint8]
Frames = Generator[tuple[int, av.VideoFrame]]


class Footage(Protocol):
    """A sequence of pictures with presentation times in seconds from the first one on.

    They are upright, in natural proportions and SDR; `stored` has the same ones pixel for pixel as the file has them,
    and `iter_partly` converts only what is looked at, where it can.
    """

    times: list[Fraction]
    duration: Fraction

    @property
    def appearance(self) -> Appearance: ...

    @property
    def stored(self) -> Footage: ...

    def iter_frames(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, Picture]]: ...

    def iter_partly(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, AnyPicture]]: ...

    def frame_at(self, time: Fraction) -> Picture: ...


class DecodedFootage(Footage, Protocol):
    """Footage whose frames can be had as they are decoded, too."""

    @property
    def stored(self) -> DecodedFootage: ...

    def decoded(self, indices: Iterable[int], cancelled: Callable[[], bool] = never) -> Frames: ...

    def pictures(self) -> Pictures: ...


def open_footage(path: Path, viewer: Viewer = "player") -> DecodedFootage:
    """A movie, or a still picture as a movie of one frame, as it is shown by a viewer.

    Raises:
        PoseDubError: unreadable, or an animated picture that players show moving; Blender shows its first one.
    """
    check_file(Path(path))
    if not is_image(Path(path)):
        return Video(path, viewer)
    if viewer == "player" and is_animated(Path(path)):
        sentence = f"The picture {Path(path).name} is animated, which can be read of GIFs alone; export it as a movie."
        raise PoseDubError(sentence, ErrorKind.UNSUPPORTED)
    return Still.read(path, viewer)


def picture_at(path: Path, time: Fraction, viewer: Viewer = "player") -> Picture:
    """A still picture, or a movie's frame on screen at `time` seconds, uint8 RGB (height, width, 3).

    Whoever looks, a still has the colours that its profile means: the picture is not laid over what the viewer shows.
    """
    check_file(Path(path))
    if is_image(Path(path)):
        return load_image(path, turned=viewer == "player")
    return open_footage(path, viewer).frame_at(time)


def index_at(times: Sequence[Fraction], time: Fraction) -> int:
    """Index of the frame on screen at `time` seconds, the first before and the last behind the movie."""
    return max(bisect_right(times, time) - 1, 0)


class Still:
    """A picture as footage: one frame, shown for no stated time."""

    def __init__(self, picture: Picture, appearance: Appearance) -> None:
        self.times = [Fraction(0)]
        self.duration = Fraction(0)
        self._picture, self.appearance = picture, appearance

    @staticmethod
    def read(path: Path, viewer: Viewer = "player") -> Still:
        """Of a file; PoseDubError as `load_image`."""
        # Blender shows the values of an image strip as they are stored, whatever ICC profile the file has.
        picture = load_image(path, turned=viewer == "player", managed=viewer == "player")
        asked = Geometry(turns=1) if viewer == "blender" and is_turned(path) else Geometry()
        return Still(picture, Appearance((picture.shape[1], picture.shape[0]), viewer, asked=asked))

    @property
    def stored(self) -> Still:
        """Itself."""
        return self

    def decoded(self, indices: Iterable[int], cancelled: Callable[[], bool] = never) -> Frames:
        """The picture as a frame, for each of `indices`."""
        for index in indices:
            yield index, av.VideoFrame.from_ndarray(self._picture, format="rgb24")

    def pictures(self) -> Pictures:
        """What turns `decoded` frames to pictures."""
        return Pictures(None, "", self.appearance.viewer)

    def iter_frames(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, Picture]]:
        """The picture, for each of `indices`."""
        for index in indices:
            yield index, self._picture

    def iter_partly(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, AnyPicture]]:
        """The picture, for each of `indices`."""
        yield from self.iter_frames(indices)

    def frame_at(self, time: Fraction) -> Picture:
        """The picture, at any time."""
        return self._picture


class Video:
    """A movie addressed by frame index in presentation order; memory does not grow with its length.

    Args:
        timing: when its pictures are shown, where that is known already.

    Attributes:
        timing: when its pictures are shown.
        times: presentation times of all frames, seconds from the first one, ascending; as the viewer times them.
        duration: seconds from the first frame's beginning to the last one's end.

    Raises:
        PoseDubError: unreadable, no pictures, frames too large or more than 24 hours.
    """

    def __init__(self, path: Path, viewer: Viewer = "player", timing: Timing | None = None) -> None:
        self._path = Path(path)
        self._viewer = viewer
        self._as_stored = False
        self.timing = timing or read_timing(self._path)
        self.times = self.timing.times_for(viewer)
        self.duration = self.timing.duration

    @cached_property
    def _facts(self) -> tuple[Fraction | None, str, Viewer]:
        """What frames do not say of themselves, as `Appearance` and `Pictures` want it."""
        with open_media(self._path, "pictures") as container:
            stream = video_stream(container, self._path)
            return stream.sample_aspect_ratio, stream.codec_context.name, self._viewer

    @cached_property
    def appearance(self) -> Appearance:
        """How the first frame looks."""
        return Appearance.of(next(self.decoded([0]))[1], *self._facts)

    @property
    def stored(self) -> Video:
        """The same movie whose pictures are in the pixels that the file stores, and HDR where the viewer knows it."""
        other = copy(self)
        other._as_stored = True
        return other

    def index_at(self, time: Fraction) -> int:
        """Index of the frame on screen at `time` seconds, the first before and the last behind the movie."""
        return index_at(self.times, time)

    def frame_at(self, time: Fraction) -> Picture:
        """Picture on screen at `time` seconds, uint8 RGB (height, width, 3)."""
        return next(self.iter_frames([self.index_at(time)]))[1]

    def iter_frames(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, Picture]]:
        """Yield (index, uint8 RGB (height, width, 3)) for ascending `indices`, as the viewer shows it."""
        pictures = self.pictures()
        show = pictures.stored if self._as_stored else pictures.natural
        for index, frame in self.decoded(indices, cancelled):
            yield index, show(frame)

    def iter_partly(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, AnyPicture]]:
        """`iter_frames`, of which only what is looked at is converted; not of `stored` footage."""
        pictures = self.pictures()
        for index, frame in self.decoded(indices, cancelled):
            yield index, pictures.partly(frame)

    def pictures(self) -> Pictures:
        """What turns `decoded` frames to pictures, one after the other."""
        return Pictures(*self._facts)

    def decoded(self, indices: Iterable[int], cancelled: Callable[[], bool] = never) -> Frames:
        """Yield (index, frame) for ascending `indices`.

        A damaged or missing frame is the one before it. Decoding begins at a key frame before the first index and
        ends at the last one.
        """
        wanted = iter(indices)
        index = next(wanted, None)
        if index is None:
            return
        held: av.VideoFrame | None = None
        for position, frame in self._decode_from(index, cancelled):
            while index is not None and held is not None and index < position:
                yield index, held
                index = next(wanted, None)
            held = frame
            while index is not None and index <= position:
                yield index, frame
                index = next(wanted, None)
            if index is None:
                return
        while index is not None:
            yield index, self._require(held)
            index = next(wanted, None)

    def _require(self, frame: av.VideoFrame | None) -> av.VideoFrame:
        if frame is None:
            raise PoseDubError(
                f"No frame of {self._path.name} can be decoded; export or copy it again.", ErrorKind.CORRUPT
            )
        return frame

    def _decode_from(self, index: int, cancelled: Callable[[], bool]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with their indices, from a key frame at or before `index` on."""
        with open_media(self._path, "pictures") as container:
            stream = video_stream(container, self._path)
            self._seek(container, stream, index)
            seen_good = False
            for count, frame in enumerate(decode_pictures(container, stream, cancelled)):
                if frame.is_corrupt and seen_good:
                    continue
                seen_good = seen_good or not frame.is_corrupt
                yield self._position(frame, count), frame

    def _seek(self, container: InputContainer, stream: VideoStream, index: int) -> None:
        # Aimed at a key frame's own time: FFmpeg compares decoding times, so a frame shown shortly before a
        # key frame would be missed.
        keys = self.timing.seek_ticks
        key = bisect_right(keys, self.timing.ticks[index]) - 1
        if key > 0:
            container.seek(keys[key], stream=stream)

    def _position(self, frame: av.VideoFrame, count: int) -> int:
        if self.timing.counted or frame.pts is None:
            return count
        return max(bisect_right(self.timing.ticks, frame.pts) - 1, 0)
