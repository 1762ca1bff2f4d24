"""What there is of an actor: minutes, poses covered, movement, blinks and silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.actor.clips import FPS, SAMPLES_PER_FRAME, ActorClip

Floats = NDArray[np.floating]

AXES = ("yaw", "pitch", "roll")
_POWER = 0.9
_SHUT, _OPEN = 0.5, 0.3  # closure of the lids
_QUIET_DB = 30.0  # below the clip's loud frames


@dataclass(frozen=True)
class Movement:
    """How a head moves, each for yaw, pitch and roll, degrees.

    Attributes:
        lowest, highest: 1st and 99th percentile of the angles.
        deviation: within a clip, root mean square over the clips.
        speed: mean absolute, degrees per second.
        frequency: Hz below which nine tenths of the movement's power lie.
    """

    lowest: Floats
    highest: Floats
    deviation: Floats
    speed: Floats
    frequency: Floats


def movement(clips: Sequence[Floats], fps: float = FPS) -> Movement:
    """Statistics of angles (n, 3), clip by clip, of two frames and more."""
    everything = np.concatenate(clips)
    lowest, highest = np.percentile(everything, (1, 99), axis=0)
    speed = np.concatenate([np.abs(np.diff(clip, axis=0)) for clip in clips]).mean(axis=0) * fps
    deviation = np.sqrt(np.mean([clip.var(axis=0) for clip in clips], axis=0))
    return Movement(lowest, highest, deviation, speed, power_end(clips, fps))


def power_end(clips: Sequence[Floats], fps: float = FPS, share: float = _POWER) -> Floats:
    """Hz (3,) below which this share of the power of angles (n, 3) lies, without each clip's mean."""
    grid = np.linspace(0, fps / 2, 501)
    cumulated = np.zeros((len(grid), clips[0].shape[1]))
    for clip in clips:
        power = np.abs(np.fft.rfft(clip - clip.mean(axis=0), axis=0)) ** 2
        hertz = np.fft.rfftfreq(len(clip), 1 / fps)
        for axis, column in enumerate((power / len(clip)).T):
            cumulated[:, axis] += np.interp(grid, hertz, np.cumsum(column))
    whole = np.maximum(cumulated[-1], 1e-12)
    return np.array([grid[int(np.argmax(column >= share))] for column in (cumulated / whole).T])


def moving_mean(courses: Floats, frames: int) -> Floats:
    """Courses (n, k), each value the mean of so many frames around it, an odd number; the ends hold on."""
    kernel = np.ones(frames) / frames
    held = np.pad(courses, ((frames // 2, frames // 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, "valid") for column in held.T], 1)


def blinks_per_minute(clips: Sequence[ActorClip]) -> float:
    """Closings of the lids in a minute."""
    count = sum(_closings(clip.lids) for clip in clips)
    return count / (sum(clip.frames for clip in clips) / FPS / 60)


def quiet_share(clips: Sequence[ActorClip]) -> float:
    """Share of the frames that are silent, 30 dB and more below the clip's loud ones."""
    quiet = [quiet_frames(clip.samples) for clip in clips]
    return float(np.concatenate(quiet).mean())


def quiet_frames(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which frames of a sound (n * 640,) are silent."""
    level = np.sqrt((samples.reshape(-1, SAMPLES_PER_FRAME).astype(np.float64) ** 2).mean(axis=1))
    return level <= max(float(np.percentile(level, 95)), 1e-4) * 10 ** (-_QUIET_DB / 20)


def described(clips: Sequence[ActorClip]) -> list[str]:
    """Sentences about an actor's clips."""
    minutes = sum(clip.frames for clip in clips) / FPS / 60
    moved = movement([clip.angles for clip in clips])
    lines = [f"{minutes:.1f} minutes in {len(clips)} clips, {100 * quiet_share(clips):.0f} % of them silent, "
             f"{blinks_per_minute(clips):.0f} blinks a minute."]  # fmt: skip
    for axis, name in enumerate(AXES):
        lines.append(
            f"{name:5} {moved.lowest[axis]:+5.1f} to {moved.highest[axis]:+5.1f} degrees, deviation in a clip "
            f"{moved.deviation[axis]:.1f}, {moved.speed[axis]:.1f} degrees/s, 90 % of the power below "
            f"{moved.frequency[axis]:.1f} Hz."
        )
    return lines


def _closings(lids: Floats) -> int:
    """Times that lids shut after having been open."""
    state, count = False, 0
    for closure in lids:
        if closure > _SHUT and not state:
            state, count = True, count + 1
        elif closure < _OPEN:
            state = False
    return count
