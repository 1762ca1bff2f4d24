"""Makes small media files with PyAV, one call each."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

# Matroska elements: how long each frame lasts, of 4 bytes, and one of the same size that means nothing.
DEFAULT_DURATION, VOID = b"\x23\xe3\x83\x84", b"\xec\x86\0\0"


def click_track(seconds: float, clicks: Iterable[float], rate: int) -> NDArray[np.float32]:
    """Silence with a short smooth click (1 ms) that begins at each of the given seconds."""
    sound = np.zeros(round(seconds * rate), np.float32)
    shape = 0.9 * np.hanning(rate // 1000)
    for second in clicks:
        begin = round(second * rate)
        sound[begin : begin + len(shape)] = shape
    return sound


def write_sound(
    path: Path, sound: NDArray[np.float32], rate: int, codec: str = "pcm_s16le", layout: str = "stereo"
) -> Path:
    """Encode one mono signal into every channel; the extension decides the container."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        channels = av.AudioLayout(layout).nb_channels
        frame = av.AudioFrame.from_ndarray(np.tile(sound, (channels, 1)), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        converter = av.AudioResampler(format=stream.codec_context.format.name, layout=layout, rate=rate)
        container.start_encoding()
        parts = [*converter.resample(frame), *converter.resample(None)] if len(sound) else []
        for part in [*parts, None]:
            container.mux(stream.encode(part))
    return path


def counter_picture(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """A picture whose grey value tells its number (below 60)."""
    return np.full((height, width, 3), 4 * number + 8, np.uint8)


def read_counter(picture: NDArray[np.uint8]) -> int:
    """The number of a counter picture after lossy coding."""
    return round((float(np.median(picture)) - 8) / 4)


def write_movie(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    codec: str = "libx264",
    rate: Fraction = Fraction(25),
    milliseconds: list[int] | None = None,
    options: dict[str, str] | None = None,
    rotation: int = 0,
) -> Path:
    """Encode pictures at a constant rate, or at the given presentation times."""
    pictures = list(pictures)
    tick = Fraction(1, 1000) if milliseconds else 1 / rate
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = tick
        if rotation:
            stream.set_display_rotation(rotation)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = milliseconds[number] if milliseconds else number, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def browser_recording(
    path: Path, pictures: Iterable[NDArray[np.uint8]], milliseconds: list[int], codec: str = "libvpx"
) -> Path:
    """A recording as browsers make it: Matroska written live, without frame rate, durations and index."""
    pictures = list(pictures)
    with av.open(str(path), "w", format="matroska", container_options={"live": "1"}) as container:
        fast = {"g": "10", "b": "2000000", "deadline": "realtime", "lag-in-frames": "0"}
        stream = container.add_stream(codec, rate=Fraction(25), options=fast)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        packets = []
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += stream.encode(frame)
        for packet, time in zip([*packets, *stream.encode(None)], milliseconds, strict=True):
            packet.pts = packet.dts = time
            packet.duration, packet.time_base = 0, Fraction(1, 1000)
            container.mux(packet)
    data = path.read_bytes()
    assert data.count(DEFAULT_DURATION) == 1
    path.write_bytes(data.replace(DEFAULT_DURATION, VOID))
    return path
