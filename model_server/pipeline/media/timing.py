"""When the pictures of a movie are shown, read from its packets; nothing is decoded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import av
from av.video.stream import VideoStream

from model_server.pipeline.request import Viewer
from model_server.sandbox.channel import crosses

DEFAULT_RATE = Fraction(25)
LOWEST_RATE, HIGHEST_RATE = Fraction(1), Fraction(240)

# Their indexes of key frames can be trusted, elsewhere decoding goes on from the beginning; and they state a time for
# each frame, elsewhere FFmpeg makes up what is missing.
_EXACT = {"mov", "matroska"}
# Without presentation times in the file, the order of the decoded pictures counts.
_UNTIMED = {"avi"}

_WHOLE = [Fraction(rate) for rate in (12, 15, 24, 25, 30, 48, 50, 60, 90, 100, 120, 144, 240)]
_NTSC = [rate * Fraction(1000, 1001) for rate in _WHOLE if rate % 12 == 0 or rate % 15 == 0]
# Cameras and browsers that time each picture by a clock are off by a few hundredths on a second of recording.
_CLOCK_ERROR = Fraction(2, 100)
_NTSC_APART = Fraction(1, 1001)
# Some containers state the time of a frame in whole microseconds.
_MICROSECOND = Fraction(1, 30_000)
# A picture that stays on for longer than this many usual ones stands for missing ones, or for a pause.
_PAUSE = Fraction(3, 2)


@crosses
@dataclass(frozen=True)
class Timing:
    """Presentation times of all shown frames, in ticks of `time_base` seconds, ascending.

    Attributes:
        seek_ticks: key frames at which decoding may begin; none where the container's index cannot be trusted.
        last_duration: seconds that the last frame is shown.
        counted: decoded frames carry no usable time, their order tells which they are.
        rate: frames per second as measured, without pauses; as stated where that is the same.
        step_rate: frames per second by which FFmpeg, and Blender with it, steps through the movie.
    """

    ticks: list[int]
    seek_ticks: list[int]
    time_base: Fraction
    last_duration: Fraction
    counted: bool
    rate: Fraction
    step_rate: Fraction

    @property
    def times(self) -> list[Fraction]:
        """Seconds of all frames from the first one on."""
        return [(tick - self.ticks[0]) * self.time_base for tick in self.ticks]

    @property
    def stepped_times(self) -> list[Fraction]:
        """Seconds from which on a viewer shows each frame that goes in steps of `step_rate`, ascending, some equal.

        Such a viewer shows at step n the frame that is on screen at n / `step_rate`, rounded to the file's ticks.
        """
        return [ceil((time - self.time_base / 2) * self.step_rate) / self.step_rate for time in self.times]

    def times_for(self, viewer: Viewer) -> list[Fraction]:
        """When a viewer shows each frame."""
        return self.stepped_times if viewer == "blender" else self.times

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's beginning to the last one's end."""
        return (self.ticks[-1] - self.ticks[0]) * self.time_base + self.last_duration


def timing_of(stream: VideoStream, packets: Iterable[av.Packet], formats: set[str]) -> Timing | None:
    """Timing of a movie, None without any frame.

    Args:
        packets: all of the stream's.
        formats: names of the container's format.
    """
    shown = [_Packet.of(packet) for packet in packets if packet.size and not packet.is_discard]
    if not shown:
        return None
    stated, time_base = _stated_rate(stream), stream.time_base or Fraction(1, av.time_base)
    ticks = sorted({packet.tick for packet in shown})
    if len(ticks) < len(shown) and not _are_stated(shown, ticks, formats):  # a constant rate is assumed
        step = 1 / (stated or DEFAULT_RATE)
        return Timing(list(range(len(shown))), [], step, step, counted=True, rate=1 / step, step_rate=1 / step)
    rate = _measured_rate(ticks, time_base, stated)
    seek_ticks = sorted(packet.tick for packet in shown if packet.is_key) if formats & _EXACT else []
    last = (max(packet.end for packet in shown) - ticks[-1]) * time_base
    last_duration = last if 2 * last * rate >= 1 else 1 / rate  # less is not stated, or one tick for want of a rate
    step_rate = stream.guessed_rate or rate
    return Timing(ticks, seek_ticks, time_base, last_duration, bool(formats & _UNTIMED), rate, step_rate)


class _Packet(NamedTuple):
    """One coded frame: when it is shown, until when, whether decoding may begin there, and whether it says so."""

    tick: int
    end: int
    is_key: bool
    is_timed: bool

    @staticmethod
    def of(packet: av.Packet) -> _Packet:
        time = packet.pts if packet.pts is not None else packet.dts
        return _Packet(time or 0, (time or 0) + (packet.duration or 0), packet.is_keyframe, time is not None)


def _are_stated(shown: Sequence[_Packet], ticks: Sequence[int], formats: set[str]) -> bool:
    """Whether some frames really share a time, as those of a browser's recording may by its clock of milliseconds."""
    return bool(formats & _EXACT) and all(packet.is_timed for packet in shown) and 2 * len(ticks) > len(shown)


def _stated_rate(stream: VideoStream) -> Fraction | None:
    """Frames per second as the container says, or as FFmpeg guesses unless that is its clock's rate."""
    stated = (stream.average_rate, stream.guessed_rate)
    rate = next((rate for rate in stated if rate and LOWEST_RATE <= rate <= HIGHEST_RATE), None)
    usual = (meant for meant in (*_WHOLE, *_NTSC) if rate and _is_near(rate, meant, _MICROSECOND))
    return next(usual, rate)


def _measured_rate(ticks: Sequence[int], time_base: Fraction, stated: Fraction | None) -> Fraction:
    """Frames per second between pauses; the stated or a usual rate where the times are those of one."""
    if len(ticks) < 2:
        return stated or DEFAULT_RATE
    steps = sorted(after - before for before, after in pairwise(ticks))
    usual = steps[: bisect_right(steps, steps[len(steps) // 2] * _PAUSE)]
    measured = len(usual) / (sum(usual) * time_base)
    error = Fraction(usual[-1] - usual[0] + 1, sum(usual))
    # Where each packet is a field, there are two for a frame.
    if stated and any(_is_near(measured, fields * stated, min(error, _NTSC_APART)) for fields in (1, 2)):
        return stated
    for rates, share in ((_WHOLE, error), (_NTSC, error), (_WHOLE, _CLOCK_ERROR)):
        nearest = min(rates, key=lambda rate: abs(rate - measured))
        if _is_near(measured, nearest, min(share, _CLOCK_ERROR)):
            return nearest
    return measured.limit_denominator(1000)


def _is_near(rate: Fraction, other: Fraction, share: Fraction) -> bool:
    return abs(rate - other) <= share * other
