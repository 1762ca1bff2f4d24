"""A folder of frames as one movie file, whose pictures are the folder's own files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream

from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest, replacing
from model_server.pipeline.media.stills import open_image
from model_server.surroundings import naming

_CODECS = {".jpg": "mjpeg", ".jpeg": "mjpeg", ".png": "png"}
_PIXELS = {"mjpeg": "yuvj420p", "png": "rgb24"}


def frames_in(folder: Path) -> list[Path]:
    """The pictures of a folder by name, all of the first one's kind.

    Raises:
        PoseDubError: there are none.
    """
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in _CODECS)
    if not pictures:
        raise PoseDubError(f"The folder {folder} has no frames; put JPEGs or PNGs into it.", ErrorKind.NOT_FOUND)
    kind = _CODECS[pictures[0].suffix.lower()]
    return [path for path in pictures if _CODECS[path.suffix.lower()] == kind]


def movie_of_frames(folder: Path, fps: Fraction, kept_in: Path) -> Path:
    """A movie of a folder's frames, at `fps`, in the folder `kept_in`; the same frames are the same file.

    Nothing is decoded or encoded: the movie's packets are the files.
    """
    frames = frames_in(folder)
    names = "".join(map(file_digest, frames)) + str(fps)
    path = kept_in / f"{hashlib.sha256(names.encode()).hexdigest()[:32]}.mov"
    if not path.exists():
        kept_in.mkdir(parents=True, exist_ok=True)
        with naming(path), replacing(path) as part:
            _write(part, frames, fps)
    return path


def _write(path: Path, frames: Sequence[Path], fps: Fraction) -> None:
    codec = _CODECS[frames[0].suffix.lower()]
    with open_image(frames[0]) as picture:
        size = picture.size
    with av.open(str(path), "w", format="mov", options={"fflags": "+bitexact"}) as movie:
        track = cast(VideoStream, movie.add_stream(codec, rate=fps))
        track.width, track.height = size
        track.pix_fmt = _PIXELS[codec]
        for index, file in enumerate(frames):
            packet = av.Packet(file.read_bytes())
            packet.stream, packet.time_base = track, 1 / fps
            packet.pts = packet.dts = index
            packet.duration, packet.is_keyframe = 1, True
            movie.mux(packet)
