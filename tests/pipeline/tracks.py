"""Makes files of several tracks that begin apart, stall, tremble or lose packets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from tests.pipeline.makers import click_track

RATE = 48000


def at_its_time(index: int, second: float) -> float | None:
    """Leaves a packet where it is."""
    return second


@dataclass
class SoundTrack:
    """A sound track: (channels, n) at RATE.

    Attributes:
        begins: second of the file at which it begins.
        moved: second at which a packet is stored by its number and its own second; None drops it.
        default: whether the file says that players take it.
        tags: such as title and language.
    """

    sound: NDArray[np.float32]
    codec: str = "aac"
    begins: float = 0.0
    moved: Callable[[int, float], float | None] = at_its_time
    default: bool = False
    tags: dict[str, str] = field(default_factory=dict)


def ticking(seconds: float, clicks: Iterable[float], channels: int = 1) -> NDArray[np.float32]:
    """A soft hum with clicks, so that inserted silence shows, (channels, n)."""
    hum = 0.03 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * RATE)) / RATE)
    return np.tile((hum + click_track(seconds, clicks, RATE)).astype(np.float32), (channels, 1))


def stalling(at: float, seconds: float) -> Callable[[int, float], float]:
    """Everything from a second on is stored so much later."""
    return lambda _index, second: second + (seconds if second > at else 0)


def write_tracks(
    path: Path, tracks: list[SoundTrack], pictures: list[NDArray[np.uint8]] | None = None, pictures_begin: float = 0.0
) -> Path:
    """Encode sound tracks, and pictures at 25 fps that begin at a second of the file, packet by packet in order."""
    with av.open(str(path), "w") as container:
        streams = [_add(container, track) for track in tracks]
        packets = _pictures(container, path, pictures, pictures_begin) if pictures else []
        for track, stream in zip(tracks, streams, strict=True):
            packets += _sound(track, stream)
        for packet in (
            sorted(packets, key=lambda one: one.dts * one.time_base) if pictures or len(tracks) > 1 else packets
        ):
            container.mux(packet)
    return path


def _add(container: av.container.OutputContainer, track: SoundTrack) -> av.AudioStream:
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(track.sound)]
    stream = container.add_stream(track.codec, rate=RATE, layout=layout)
    stream.disposition = Disposition.default if track.default else Disposition(0)
    stream.metadata.update(track.tags)
    return stream


def _sound(track: SoundTrack, stream: av.AudioStream) -> list[av.Packet]:
    codec = stream.codec_context
    converter = av.AudioResampler(format=codec.format.name)
    packets = []
    for at in range(0, track.sound.shape[1], 960):
        part = np.ascontiguousarray(track.sound[:, at : at + 960].T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(part, format="flt", layout=codec.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
        for converted in converter.resample(frame):
            packets += stream.encode(converted)
    packets += stream.encode(None)
    return [packet for index, packet in enumerate(packets) if _place(packet, index, track)]


def _place(packet: av.Packet, index: int, track: SoundTrack) -> bool:
    """Store a packet where the track says; whether it stays."""
    second = track.moved(index, float(packet.pts * packet.time_base))
    if second is None:
        return False
    packet.pts = packet.dts = round((second + track.begins) / packet.time_base)
    return True


def _pictures(
    container: av.container.OutputContainer, path: Path, pictures: list[NDArray[np.uint8]], begins: float
) -> list[av.Packet]:
    stream = container.add_stream("libvpx" if path.suffix == ".webm" else "libx264", rate=25)
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = "yuv420p"
    frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures]
    packets = [packet for frame in (*frames, None) for packet in stream.encode(frame)]
    for packet in packets:
        shift = round(Fraction(begins) / packet.time_base)
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
    return packets
