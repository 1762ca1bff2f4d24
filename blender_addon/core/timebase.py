"""Exact time: scene rates as fractions, and frames, seconds and samples into each other.

One rounding rule everywhere: floor(x + 1/2), so halves go up, also below zero.
"""

from __future__ import annotations

from fractions import Fraction

Number = int | Fraction

NTSC = Fraction(1000, 1001)


def round_half_up(value: Number) -> int:
    """floor(value + 1/2)."""
    return (Fraction(value) + Fraction(1, 2)).__floor__()


def scene_fps(fps: int, fps_base: float) -> Fraction:
    """Frames per second of a scene from Blender's `render.fps` and `render.fps_base`.

    Blender stores 1.001 as a 32-bit float, which alone would drift by 0.17 ms an hour.
    """
    if abs(fps_base - 1.001) < 1e-5:
        return fps * NTSC
    return fps / Fraction(fps_base).limit_denominator(100_000)


def media_fps(rate: float) -> Fraction:
    """Exact rate of a movie from the float that Blender reports, such as 29.97003."""
    nominal = round_half_up(Fraction(rate))
    if abs(rate - float(nominal * NTSC)) < nominal * 1e-5:
        return nominal * NTSC
    return Fraction(rate).limit_denominator(1000)


def frames_to_seconds(frames: Number, fps: Fraction) -> Fraction:
    """Duration of `frames` frames, or the time at which that frame begins."""
    return Fraction(frames) / fps


def seconds_to_frames(seconds: Number, fps: Fraction) -> int:
    """The frame boundary nearest to a time."""
    return round_half_up(seconds * fps)


def frames_covering(seconds: Number, fps: Fraction) -> int:
    """Frames needed to cover a duration: ceil(seconds * fps)."""
    return (Fraction(seconds) * fps).__ceil__()


def frames_to_samples(frames: Number, fps: Fraction, rate: int) -> int:
    """The audio sample nearest to the beginning of a frame, at `rate` samples per second."""
    return round_half_up(frames / fps * rate)


def samples_to_frames(samples: int, fps: Fraction, rate: int) -> int:
    """The frame boundary nearest to a sample."""
    return round_half_up(Fraction(samples, rate) * fps)


def timecode(frame: int, fps: Fraction) -> str:
    """HH:MM:SS:FF without dropped frames, counted at the nominal rate (30 for 29.97)."""
    sign, frame = ("-", -frame) if frame < 0 else ("", frame)
    seconds, rest = divmod(frame, max(1, round_half_up(fps)))
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{rest:02}"
