"""Pose tracks, and the tools that change one on a range of its frames.

A track has one row of 12 numbers, a pose code, for each frame. A tool takes a
track, changes the rows first <= k < end and returns a new track; times and
durations are in frames. Frames outside the track look like its nearest one.
"""

from __future__ import annotations

import math
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain

from .engines import POSE_SIZE
from .pose_map import PoseMap, Row

Track = list[Row]

FRONTAL: Row = (0.0,) * POSE_SIZE


def widened(row: Row) -> Row:
    """A pose code of an engine with fewer controls, in the room that a strip has for one."""
    return (*row, *FRONTAL[len(row) :])


"""Pose code of a head that looks straight ahead."""
PASSES = 6
"""Running means that make up one Gaussian; six are within 3 % of its peak, from sigma 2 on."""


def packed(track: Sequence[Row]) -> str:
    """The track as text, in 32-bit numbers."""
    values = array("f", chain.from_iterable(track))
    return b64encode(values.tobytes()).decode()


def unpacked(text: str) -> Track:
    """Inverse of `packed`; raises ValueError for other text."""
    values = array("f", b64decode(text))
    return [tuple(values[start : start + POSE_SIZE]) for start in range(0, len(values), POSE_SIZE)]


def replaced(track: Sequence[Row], first: int, end: int, rows: Iterable[Row]) -> Track:
    """The track with other rows first <= k < end."""
    return [*track[:first], *rows, *track[end:]]


def mean(track: Sequence[Row]) -> Row:
    """The track's mean code."""
    return tuple(math.fsum(column) / len(track) for column in zip(*track, strict=True))


def smooth(track: Sequence[Row], first: int, end: int, sigma: float) -> Track:
    """Convolve with a Gaussian of standard deviation `sigma` frames; neighbours of the range take part.

    The Gaussian is six running means (Gwosdek et al., "Theoretical foundations of Gaussian convolution by
    extended box filtering", 2011), whose cost does not depend on `sigma`.
    """
    half = _box_half(sigma * sigma / PASSES)
    reach = PASSES * (int(half) + 1)
    begin = max(0, first - reach)
    columns = [list(column) for column in zip(*track[begin : end + reach], strict=True)]
    for _ in range(PASSES):
        columns = [_running_mean(column, half) for column in columns]
    return replaced(track, first, end, list(zip(*columns, strict=True))[first - begin : end - begin])


def _box_half(variance: float) -> float:
    """Frames on each side of the running mean that has this variance; its fraction weighs the outermost ones."""
    whole = int((math.sqrt(1 + 12 * variance) - 1) / 2)
    missing = variance - whole * (whole + 1) / 3
    return whole + (2 * whole + 1) * missing / (2 * ((whole + 1) ** 2 - variance))


def _running_mean(values: list[float], half: float) -> list[float]:
    whole = int(half)
    pad, part, width = whole + 1, half - whole, 2 * half + 1
    padded = [values[0]] * pad + values + [values[-1]] * pad
    sums = [0.0, *accumulate(padded)]
    ends = zip(sums[1:], sums[2 * pad :], padded, padded[2 * pad :], strict=False)
    return [(upto - before + part * (left + right)) / width for before, upto, left, right in ends]


def scale(track: Sequence[Row], first: int, end: int, amount: float, centre: Row = FRONTAL) -> Track:
    """Multiply the distance from `centre`; `mean(track)` keeps the attitude and changes the movement only."""
    return replaced(track, first, end, (_mixed(centre, row, amount) for row in track[first:end]))


def frontalise(track: Sequence[Row], first: int, end: int, amount: float) -> Track:
    """Turn the head to the front, wholly with amount 1."""
    return scale(track, first, end, 1 - amount)


def hold(track: Sequence[Row], first: int, end: int) -> Track:
    """Keep the first frame's pose."""
    return replaced(track, first, end, [track[first]] * (end - first))


def mirror(track: Sequence[Row], first: int, end: int, pose_map: PoseMap) -> Track:
    """Negate yaw and roll."""
    return replaced(track, first, end, map(pose_map.mirrored, track[first:end]))


def offset(track: Sequence[Row], first: int, end: int, frames: float) -> Track:
    """Move later by `frames`, which may be negative and need not be whole."""
    return replaced(track, first, end, (_sampled(track, k - frames) for k in range(first, end)))


def loop(track: Sequence[Row], first: int, end: int, length: int, back_and_forth: bool = False) -> Track:
    """Repeat the first `length` frames of the range; each second time backwards when `back_and_forth`."""
    section = list(track[first : min(end, first + length)])
    if back_and_forth:
        section += section[-2:0:-1]
    return replaced(track, first, end, (section[k % len(section)] for k in range(end - first)))


def blend(track: Sequence[Row], other: Sequence[Row], factors: Sequence[float]) -> Track:
    """Mix two tracks frame by frame; factor 0 takes the first one, 1 the other one."""
    return [_mixed(*rows) for rows in zip(track, other, factors, strict=True)]


def ease(track: Sequence[Row], source: Sequence[Row], first: int, end: int, frames: int) -> Track:
    """Leave `source` within `frames` frames at the range's beginning, and go back to it as long before its end."""
    borders = (min(k - first, end - 1 - k) + 1 for k in range(first, end))
    factors = [_smoothstep(min(1.0, border / (frames + 1))) for border in borders]
    return replaced(track, first, end, blend(source[first:end], track[first:end], factors))


def decimated(values: Sequence[float], tolerance: float) -> list[int]:
    """Positions of the keys to keep so that straight lines between them stay within `tolerance` of all values."""
    keys = [0]
    while keys[-1] < len(values) - 1:
        keys.append(_line_end(values, keys[-1], tolerance))
    return keys


def _line_end(values: Sequence[float], start: int, tolerance: float) -> int:
    """How far a line from `start` may go: slopes that suit all values passed get fewer until none is left."""
    end, least, most = start + 1, -math.inf, math.inf
    for position in range(start + 1, len(values)):
        rise, run = values[position] - values[start], position - start
        if least <= rise / run <= most:
            end = position
        least, most = max(least, (rise - tolerance) / run), min(most, (rise + tolerance) / run)
        if least > most:
            break
    return end


def _smoothstep(share: float) -> float:
    return share * share * (3 - 2 * share)


def _sampled(track: Sequence[Row], time: float) -> Row:
    """The row at a time between frames."""
    time = min(max(time, 0.0), len(track) - 1.0)
    before = min(int(time), max(0, len(track) - 2))
    return track[before] if time == before else _mixed(track[before], track[before + 1], time - before)


def _mixed(one: Row, other: Row, factor: float) -> Row:
    if factor in (0.0, 1.0):  # exactly, so that nothing is drawn anew
        return other if factor else one
    return tuple([a + factor * (b - a) for a, b in zip(one, other, strict=True)])
