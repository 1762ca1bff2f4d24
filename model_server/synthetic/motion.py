"""Natural head motion and blinks, smooth and drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

YAW_RANGE, PITCH_RANGE, ROLL_RANGE = 45.0, 30.0, 20.0  # degrees either side
BLINK = np.array([0.35, 0.9, 1.0, 0.75, 0.4, 0.15])  # closing over 25 fps frames
SWAY = 2.5, 2.0, 1.5  # degrees of yaw, pitch and roll, of a head that holds a pose
FIXATION = 0.12, 0.07  # spread of gaze around straight ahead, yaw and pitch


def head_angles(rng: np.random.Generator, frames: int, fps: float = 25.0, scale: float = 1.0) -> Floats:
    """Yaw, pitch and roll (frames, 3) in degrees: held poses with eased turns between, plus slow sway.

    Args:
        rng: source of randomness.
        frames: number of frames.
        fps: frames per second.
        scale: 1 uses the whole range of ±45°, ±30° and ±20°.
    """
    limits = np.array([YAW_RANGE, PITCH_RANGE, ROLL_RANGE]) * scale
    turns = _held_poses(rng, frames, fps) * limits
    sway = np.stack([_sway(rng, frames, fps) for _ in range(3)], 1) * SWAY * min(scale * 2.0, 1.0)
    return np.clip(turns + sway, -limits, limits).astype(np.float32)


def eased_path(keys: npt.ArrayLike, times: npt.ArrayLike, frames: int, fps: float = 25.0) -> Floats:
    """Values (frames, C) that ease in and out between keys (K, C) at times (K,) in seconds."""
    keys, times = np.asarray(keys, np.float64), np.asarray(times, np.float64)
    now = np.arange(frames) / fps
    segment = np.clip(np.searchsorted(times, now, side="right") - 1, 0, len(times) - 2)
    t = np.clip((now - times[segment]) / (times[segment + 1] - times[segment]), 0.0, 1.0)[:, None]
    eased = t * t * t * (t * (6 * t - 15) + 10)  # Perlin's smootherstep: speed and acceleration 0 at the keys
    return (keys[segment] * (1 - eased) + keys[segment + 1] * eased).astype(np.float32)


def blinks(rng: np.random.Generator, frames: int, fps: float = 25.0) -> Floats:
    """Lid closure (frames,) 0..1 with a blink every few seconds."""
    times = [rng.uniform(0.4, 2.5)]
    while times[-1] < frames / fps:
        times.append(times[-1] + rng.uniform(1.8, 5.0))
    return lids_closing_at(times, frames, fps)


def lids_closing_at(times: Iterable[float], frames: int, fps: float = 25.0) -> Floats:
    """Lid closure (frames,) 0..1 with a blink that begins at each of the times, seconds."""
    closure = np.zeros(frames, np.float32)
    shape = np.interp(np.arange(0, len(BLINK) - 1, 25.0 / fps), np.arange(len(BLINK)), BLINK)
    for start in (int(time * fps) for time in times):
        if 0 <= start < frames:
            end = min(start + len(shape), frames)
            closure[start:end] = np.maximum(closure[start:end], shape[: end - start])
    return closure


def gaze(rng: np.random.Generator, frames: int, fps: float = 25.0) -> Floats:
    """Gaze (frames, 2) as yaw and pitch -1..1: small fixations that jump now and then."""
    path = np.zeros((frames, 2), np.float32)
    start = 0
    while start < frames:
        length = max(int(rng.uniform(0.4, 2.0) * fps), 1)
        path[start : start + length] = rng.normal(0.0, FIXATION)
        start += length
    return path


def gaze_weights(yaw: float, pitch: float) -> dict[str, float]:
    """Blendshape weights of a gaze, yaw positive to the viewer's right and pitch positive up, -1..1."""
    right, left, up, down = max(yaw, 0.0), max(-yaw, 0.0), max(pitch, 0.0), max(-pitch, 0.0)
    return {
        "eyeLookOut_L": right, "eyeLookIn_R": right, "eyeLookIn_L": left, "eyeLookOut_R": left,
        "eyeLookUp_L": up, "eyeLookUp_R": up, "eyeLookDown_L": down, "eyeLookDown_R": down,
    }  # fmt: skip


def _held_poses(rng: np.random.Generator, frames: int, fps: float) -> Floats:
    duration = frames / fps
    times, keys = [0.0], [_pose(rng)]
    while times[-1] < duration:
        hold, turn = rng.uniform(0.1, 0.9), rng.uniform(0.45, 1.4)
        target = _pose(rng)
        times += [times[-1] + hold, times[-1] + hold + turn]
        keys += [keys[-1], target]
    return eased_path(keys, times, frames, fps)


def _pose(rng: np.random.Generator) -> Floats:
    """A pose in units of the range, more often near the middle."""
    return np.clip(rng.normal(0.0, [0.45, 0.35, 0.35]), -1.0, 1.0)


def _sway(rng: np.random.Generator, frames: int, fps: float) -> Floats:
    seconds = np.arange(frames) / fps
    waves = [np.sin(2 * np.pi * (f * seconds + rng.random())) * 0.4 / (1 + f) for f in rng.uniform(0.15, 1.2, 4)]
    return np.sum(waves, 0)
