"""Makes movies whose Y'CbCr values and colour tags are known exactly; codecs lose nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
STEPS = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}
BARS = np.array(
    [(235,) * 3, (16,) * 3, (200, 30, 30), (30, 180, 40), (40, 60, 200), (210, 200, 40), (200, 150, 120), (128,) * 3],
    np.uint8,
)
# Values of tkhd's matrix (a, b, c, d), and what a player makes of a picture.
ORIENTATIONS = {
    "plain": (1, 0, 0, 1),
    "quarter": (0, 1, -1, 0),
    "half": (-1, 0, 0, -1),
    "three quarters": (0, -1, 1, 0),
    "left and right": (-1, 0, 0, 1),
    "up and down": (1, 0, 0, -1),
    "diagonal": (0, 1, 1, 0),
    "other diagonal": (0, -1, -1, 0),
}


@dataclass(frozen=True)
class Tags:
    """Colour of a movie in the numbers of ISO/IEC 23091-2; `stated` says whether the file tells."""

    matrix: int = 1
    full: bool = False
    bits: int = 8
    chroma: str = "420"
    primaries: int = 1
    transfer: int = 1
    stated: bool = True

    @property
    def format(self) -> str:
        return f"yuv{self.chroma}p" + ("10le" if self.bits == 10 else "")


def bars(width: int, height: int) -> Picture:
    """Eight flat patches of colour, four above four."""
    picture = np.zeros((height, width, 3), np.uint8)
    for k, colour in enumerate(BARS):
        row, column = divmod(k, 4)
        picture[row * height // 2 : (row + 1) * height // 2, column * width // 4 : (column + 1) * width // 4] = colour
    return picture


def patches(picture: NDArray) -> NDArray[np.int64]:
    """Colour in the middle of each patch of `bars`, (8, 3)."""
    height, width = picture.shape[:2]
    places = [((2 * (k // 4) + 1) * height // 4, (2 * (k % 4) + 1) * width // 8) for k in range(8)]
    return np.array([picture[place] for place in places], int)


def ycc_planes(rgb: NDArray, tags: Tags) -> list[NDArray]:
    """Planes of R'G'B' in [0, 1]."""
    red, blue = WEIGHTS[tags.matrix]
    luma = rgb @ [red, 1 - red - blue, blue]
    cb, cr = (rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)
    one, top = 2 ** (tags.bits - 8), 2**tags.bits - 1
    if tags.full:
        values = [luma * top, cb * top + 128 * one, cr * top + 128 * one]
    else:
        values = [(16 + 219 * luma) * one, (128 + 224 * cb) * one, (128 + 224 * cr) * one]
    across, down = STEPS[tags.chroma]
    height, width = luma.shape
    small = [v.reshape(height // down, down, width // across, across).mean(axis=(1, 3)) for v in values[1:]]
    kind = np.uint8 if tags.bits == 8 else np.uint16
    return [np.clip(np.rint(plane), 0, top).astype(kind) for plane in (values[0], *small)]


def write_tagged(
    path: Path, pictures: Iterable[NDArray], tags: Tags, codec: str = "libx264", pixel: Fraction | None = None
) -> Path:
    """Encode uint8 R'G'B' pictures, or floats in [0, 1], at 25 fps without loss."""
    pictures = list(pictures)
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as movie:
        track = movie.add_stream(codec, rate=25, options={"qp": "0"} if codec == "libx264" else {})
        track.width, track.height, track.pix_fmt = width, height, tags.format
        if pixel:
            track.codec_context.sample_aspect_ratio = pixel
        _tag(track.codec_context, tags)
        for number, picture in enumerate(pictures):
            rgb = picture / 255 if picture.dtype == np.uint8 else picture
            frame = av.VideoFrame(width, height, tags.format)
            for plane, values in zip(frame.planes, ycc_planes(rgb, tags), strict=True):
                rows = np.zeros((plane.height, plane.line_size), np.uint8)
                raw = np.ascontiguousarray(values).view(np.uint8)
                rows[:, : raw.shape[1]] = raw
                plane.update(rows.tobytes())
            _tag(frame, tags)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            movie.mux(track.encode(frame))
        movie.mux(track.encode(None))
    return path


def _tag(target: av.VideoFrame | av.VideoCodecContext, tags: Tags) -> None:
    target.color_range = 2 if tags.full else tags.stated
    if tags.stated:
        target.colorspace, target.color_primaries, target.color_trc = tags.matrix, tags.primaries, tags.transfer


def oriented(movie: Path, path: Path, orientation: str) -> Path:
    """A copy of an MP4 whose display matrix is one of `ORIENTATIONS`."""
    data = bytearray(movie.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert data[place : place + 36] == plain
    a, b, c, d = ORIENTATIONS[orientation]
    data[place : place + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def decoded(path: Path) -> list[Picture]:
    """All frames as good players show them, exact to half a step, but for turning."""
    exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    with av.open(str(path)) as movie:
        frames = (frame.reformat(format="rgb24", interpolation=exact) for frame in movie.decode(video=0))
        return [frame.to_ndarray() for frame in frames]


def stated(path: Path) -> tuple[int, int, int, int]:
    """Matrix, range (1 limited, 2 full), primaries and transfer that a movie states."""
    with av.open(str(path)) as movie:
        codec = movie.streams.video[0].codec_context
        return codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc
