"""Safe opening of untrusted media: what it is, how large, and one clear sentence when it cannot be read.

Formats are recognised by content, never by extension. FFmpeg sees a whitelist of formats and of protocols, so that
a play list cannot make it read another file; `stills` does the same for pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media.checks import check_file
from model_server.pipeline.media.stills import is_image, open_image, orientation
from model_server.pipeline.media.timing import Timing, timing_of
from model_server.sandbox.channel import crosses

MAX_FRAME_PIXELS = 8192 * 8192
MAX_SECONDS = 24 * 3600

# Containers that hold their media themselves; nothing that points at other files (concat, HLS, DASH, image2).
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mp3,wav,w64,aiff,au,caf,flac,wv,ogg,aac,ac3,eac3,amr,asf,"
    "mpegts,mpeg,mxf,flv,gif,dv"
)
_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}

_RECOMMENDED = {
    "sound": "not sound or video that can be read; choose WAV, MP3, FLAC, MP4, MOV or MKV",
    "pictures": "neither a picture nor a movie that can be read; choose PNG, JPEG, HEIC, TIFF, EXR, MP4, MOV or MKV",
}

Wanted = Literal["sound", "pictures"]
AnyStream = TypeVar("AnyStream", AudioStream, VideoStream)


@crosses
@dataclass(frozen=True)
class MediaInfo:
    """What a file holds.

    Attributes:
        kind: "image", "video" or "audio".
        duration: seconds as the container states them, else as the pictures last, 0 for an image.
        fps: frames per second of a video as measured (`Timing.rate`), else None.
        width: pixels as shown (after rotation), 0 for audio.
        height: pixels as shown (after rotation), 0 for audio.
        has_audio: True when there is a sound track.
    """

    kind: Literal["image", "video", "audio"]
    duration: Fraction
    fps: Fraction | None
    width: int
    height: int
    has_audio: bool


def never() -> bool:
    """A `cancelled` callback for work that nobody cancels."""
    return False


def stop_if(cancelled: Callable[[], bool]) -> None:
    """Raise PoseDubError of kind CANCELLED once `cancelled()` is true."""
    if cancelled():
        raise PoseDubError("The work was cancelled; start it again when it is wanted.", ErrorKind.CANCELLED)


@contextmanager
def open_media(path: Path, wanted: Wanted = "sound") -> Iterator[InputContainer]:
    """Open sound or video for reading; FFmpeg's errors, also later ones, become a PoseDubError that names the file.

    Args:
        wanted: what the file is for, which decides what is recommended in place of one that cannot be read.
    """
    path = Path(path).absolute()
    check_file(path)
    container = _open_container(path, wanted)
    try:
        with container:
            yield container
    except av.FFmpegError as error:
        raise PoseDubError(
            f"The file {path.name} is damaged ({error.strerror}); export or copy it again.", ErrorKind.CORRUPT
        ) from error


def _open_container(path: Path, wanted: Wanted) -> InputContainer:
    try:
        # Titles and tags come in any encoding and are not used, so that they never make a file unreadable.
        container = av.open(str(path), options=_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as error:
        raise _unreadable(path, wanted) from error
    if container.streams.video or container.streams.audio:
        return container
    container.close()
    raise _unreadable(path, wanted)


def _unreadable(path: Path, wanted: Wanted) -> PoseDubError:
    if _starts_like_mp4(path):
        return PoseDubError(
            f"The file {path.name} is cut off (its index is incomplete); export or copy it again.", ErrorKind.CORRUPT
        )
    return PoseDubError(f"The file {path.name} is {_RECOMMENDED[wanted]}.")


def _starts_like_mp4(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(12)[4:8] == b"ftyp"


def audio_stream(container: InputContainer, path: Path) -> AudioStream:
    """The first sound track."""
    if not container.streams.audio:
        raise PoseDubError(f"The file {path.name} has no sound track; choose a file with sound.")
    return known_codec(container.streams.audio[0], path)


def known_codec(stream: AnyStream, path: Path) -> AnyStream:
    """The stream; PoseDubError when there is no decoder for it."""
    if stream.codec_context is None:
        raise PoseDubError(
            f"The {stream.type} in {path.name} has an unknown codec; convert it to H.264 and AAC.",
            ErrorKind.UNSUPPORTED,
        )
    return stream


def find_video_stream(container: InputContainer) -> VideoStream | None:
    """The first track of moving pictures; the cover picture of a song is none."""
    cover = av.stream.Disposition.attached_pic
    return next((stream for stream in container.streams.video if not stream.disposition & cover), None)


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first track of moving pictures, prepared so that a frame above `MAX_FRAME_PIXELS` is refused undecoded."""
    stream = find_video_stream(container)
    if stream is None:
        raise PoseDubError(f"The file {path.name} has no pictures; choose a movie or an image.")
    codec = known_codec(stream, path).codec_context
    if codec.width * codec.height > MAX_FRAME_PIXELS:
        raise PoseDubError(
            f"The frames of {path.name} are {codec.width}x{codec.height}; scale it below 8192x8192.",
            ErrorKind.TOO_LARGE,
        )
    codec.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    codec.thread_type = "AUTO"
    codec.thread_count = 4
    return stream


def begin_of(container: InputContainer) -> Fraction:
    """Timestamp, seconds, of second 0 of the file: its first track, of pictures or sound, begins there."""
    tracks = (*container.streams.audio, *filter(None, [find_video_stream(container)]))
    return min((begin for begin in map(_begin, tracks) if begin is not None), default=Fraction(0))


def _begin(stream: av.stream.Stream) -> Fraction | None:
    """Timestamp, seconds, of a track's beginning, None where the file does not tell."""
    return None if stream.start_time is None or not stream.time_base else stream.start_time * stream.time_base


def pictures_begin(path: Path) -> Fraction:
    """Second of the file at which its first picture is shown, 0 for a still; the sound may begin before."""
    if is_image(path):
        return Fraction(0)
    with open_media(path) as container:
        begin = _begin(video_stream(container, path))
        return Fraction(0) if begin is None else begin - begin_of(container)


def demux(container: InputContainer, stream: AudioStream | VideoStream) -> Iterator[av.Packet]:
    """Packets of one stream, and an empty one at the end that flushes the decoder."""
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:  # PyAV trips over the first packet of a stream that begins midway; reading goes on behind it
            continue


def decode_pictures(
    container: InputContainer, stream: VideoStream, cancelled: Callable[[], bool] = never
) -> Iterator[av.VideoFrame]:
    """Frames in presentation order; packets that cannot be decoded are left out."""
    for packet in demux(container, stream):
        stop_if(cancelled)
        try:
            frames = stream.decode(packet)
        except av.InvalidDataError:
            continue
        yield from frames


def check_duration(seconds: Fraction | float, path: Path) -> None:
    """Raise PoseDubError for media longer than `MAX_SECONDS`."""
    if seconds > MAX_SECONDS:
        raise PoseDubError(f"The file {path.name} is longer than 24 hours; cut it shorter.", ErrorKind.TOO_LARGE)


def probe(path: Path) -> MediaInfo:
    """Recognise a file by its content.

    Raises:
        PoseDubError: missing, empty, unreadable or too large.
    """
    path = Path(path)
    check_file(path)
    return _probe_image(path) if is_image(path) else _probe_container(path)


def _probe_image(path: Path) -> MediaInfo:
    with open_image(path) as image:
        turned = orientation(image) >= 5  # orientations that swap the sides
        width, height = image.size[::-1] if turned else image.size
    return MediaInfo("image", Fraction(0), None, width, height, has_audio=False)


def _probe_container(path: Path) -> MediaInfo:
    with open_media(path) as container:
        if find_video_stream(container) is None:
            sound = audio_stream(container, path)
            return MediaInfo("audio", _stated_duration(container, sound, path), None, 0, 0, has_audio=True)
        stream = video_stream(container, path)
        seconds = _stated_duration(container, stream, path)
        width, height = _shown_size(container, stream, path)
        has_audio = bool(container.streams.audio)
    timing = read_timing(path)
    return MediaInfo("video", seconds or timing.duration, timing.rate, width, height, has_audio)


def read_timing(path: Path) -> Timing:
    """When a movie's pictures are shown; reads all of the file's packets and decodes none.

    Raises:
        PoseDubError: unreadable, no pictures, frames too large or more than 24 hours.
    """
    with open_media(path, "pictures") as container:
        stream = video_stream(container, path)
        timing = timing_of(stream, demux(container, stream), set(container.format.name.split(",")))
    if timing is None:
        raise PoseDubError(f"The movie {path.name} has no frames; export or copy it again.", ErrorKind.CORRUPT)
    check_duration(timing.duration, path)
    return timing


def _shown_size(container: InputContainer, stream: VideoStream, path: Path) -> tuple[int, int]:
    frame = next(decode_pictures(container, stream), None)
    if frame is None:
        raise PoseDubError(f"No frame of {path.name} can be decoded; export or copy it again.", ErrorKind.CORRUPT)
    return (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)


def _stated_duration(container: InputContainer, stream: AudioStream | VideoStream, path: Path) -> Fraction:
    if stream.duration and stream.time_base:
        seconds = stream.duration * stream.time_base
    else:
        seconds = Fraction(container.duration or 0, av.time_base)
    check_duration(seconds, path)
    return seconds
