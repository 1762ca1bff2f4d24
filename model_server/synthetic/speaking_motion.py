"""How somebody moves who speaks to a camera: a head that sways, drifts and nods with the voice, lids, eyes and brows.

The head's spread and speed are those measured in published head poses of talking people: standard deviations of 1 to 3
degrees of pitch and roll and up to 5 of yaw, nine tenths of the power below 0.8 Hz (yaw, roll) and 1.4 Hz (pitch).
Nods mark stressed syllables, and pauses bring the head back to the middle. Lids close where phrases end, as people's
mostly do (Nakano and Kitazawa 2010): so speech tells of them, and what learns from it can blink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_server.synthetic.clip import Performance, expression
from model_server.synthetic.motion import eased_path, gaze, lids_closing_at
from model_server.synthetic.speech import Speech
from model_server.synthetic.visemes import viseme_weights

Floats = npt.NDArray[np.floating]

LIMITS = np.array([20.0, 12.0, 8.0])  # degrees of yaw, pitch, roll either side
# Drawn for each clip, (yaw, pitch, roll): deviation of the sway in degrees, and where its power ends, Hz.
_SPREAD = np.array([(1.6, 4.0), (1.0, 2.2), (0.8, 1.8)])
_CUTOFF = np.array([(0.3, 0.8), (0.5, 1.2), (0.3, 0.8)])
_LEAN = 0.3  # correlation of yaw and roll
_DRIFT = np.array([2.5, 1.2, 0.8])  # deviation of the slow wandering, degrees
_WANDER = (4.0, 9.0)  # seconds from place to place
_NOD_SHARE, _NOD_DEPTH, _NOD_SECONDS, _NOD_LAG = (0.3, 0.5), (1.0, 3.0), (0.2, 0.4), (0.0, 0.1)
_NOD_GAP = 0.45  # seconds at least from nod to nod
_PAUSE = 0.25  # seconds of silence that are a pause
_RECENTRED, _RETURN_SECONDS, _STAY_SECONDS = 0.3, 0.7, 5.0
_GAZE_RANGE = 30.0  # degrees of the largest look to a side
_FIXATION = 0.25  # of a free gaze's: the eyes rest on the camera
_BLINK_LAG, _BLINK_GAP, _BLINK_EVERY = 0.08, 1.2, 3.2  # seconds
_BROW_SECONDS, _BROW_SHARE = 0.5, 0.3
_EFFORT = 1.1
_LOUDNESS_SECONDS = 0.08


@dataclass(frozen=True)
class Accent:
    """A syllable that stands out: its time in seconds and how much, 0 to 1."""

    time: float
    prominence: float


def speak_to_camera(
    rng: np.random.Generator, speech: Speech, frames: int, fps: float = 25.0, reach: float = 1.0, lean: float = _LEAN
) -> Performance:
    """What a speaker does in so many frames of a speech.

    Args:
        rng: source of randomness.
        speech: what is said from the first frame on.
        frames: number of frames.
        fps: frames per second.
        reach: factor on how far the head wanders; 3 makes slow turns through most of the range.
        lean: correlation of roll with yaw.
    """
    stressed = accents(speech)
    angles = head_angles(rng, speech, stressed, frames, fps, reach, lean)
    looks = -angles[:, :2] / _GAZE_RANGE + _FIXATION * gaze(rng, frames, fps)
    lids, brows = lids_closing_at(blink_times(speech), frames, fps), _brows(rng, stressed, frames, fps)
    visemes = viseme_weights(speech.phonemes, frames, fps)
    return Performance(
        angles=angles,
        shifts=np.stack([angles[:, 0] * 0.02, -np.abs(angles[:, 1]) * 0.01, 0 * lids], 1).astype(np.float32),
        visemes=visemes,
        expressions=tuple(expression(*row, _EFFORT) for row in zip(visemes, lids, looks, brows, strict=True)),
        samples=speech.samples,
        sample_rate=speech.sample_rate,
        fps=fps,
        lids=lids,
    )


def head_angles(
    rng: np.random.Generator,
    speech: Speech,
    stressed: list[Accent],
    frames: int,
    fps: float = 25.0,
    reach: float = 1.0,
    lean: float = _LEAN,
) -> Floats:
    """Yaw, pitch and roll (frames, 3) in degrees, bent softly to their limits."""
    sway = np.stack([low_passed(rng, frames, fps, rng.uniform(*band)) for band in _CUTOFF], 1)
    sway[:, 2] = lean * sway[:, 0] + (1 - lean**2) ** 0.5 * sway[:, 2]
    angles = sway * [rng.uniform(*spread) for spread in _SPREAD] + _drift(rng, speech, frames, fps, reach)
    angles[:, 1] -= _nods(rng, stressed, frames, fps)
    return (LIMITS * np.tanh(angles / LIMITS)).astype(np.float32)


def low_passed(rng: np.random.Generator, frames: int, fps: float, cutoff: float) -> Floats:
    """Noise (frames,) of unit deviation whose power falls by 24 dB an octave above `cutoff` Hz."""
    count = 2 * frames + int(8 * fps)  # the spectrum's noise comes round: only a part of a turn is used
    gain = 1 / (1 + (np.fft.rfftfreq(count, 1 / fps) / cutoff) ** 4)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * gain, count)
    return noise[:frames] / np.sqrt(np.mean(np.abs(np.concatenate([gain, gain[1:]])) ** 2))


def accents(speech: Speech) -> list[Accent]:
    """Stressed syllables, or peaks of loudness where the phonemes bear no marks of stress."""
    level = _loudness(speech)
    if not len(level):
        return []
    loud = max(float(np.percentile(level, 95)), 1e-6)
    times = [p.start for p in speech.phonemes if "ˈ" in p.symbol] or _peaks(level)
    step = _LOUDNESS_SECONDS / 2
    highs = [level[int(t / step) : int(t / step) + 3].max(initial=0.0) for t in times]
    return [Accent(t, min(float(high) / loud, 1.0)) for t, high in zip(times, highs, strict=True) if high > 0.2 * loud]


def pauses(speech: Speech) -> list[tuple[float, float]]:
    """Start and end in seconds of all times without a phoneme."""
    spoken = [p for p in speech.phonemes if p.symbol]
    starts, ends = [p.start for p in spoken] + [speech.duration], [0.0] + [p.end for p in spoken]
    return [(end, start) for end, start in zip(ends, starts, strict=True) if start - end >= _PAUSE]


def blink_times(speech: Speech) -> list[float]:
    """Seconds at which blinks begin: shortly after phrases, with some time between them, and often in long silence."""
    times: list[float] = []
    for start, end in pauses(speech):
        first = start + (_BLINK_LAG if start else _BLINK_EVERY / 2)
        for at in np.arange(first, max(end, first + _PAUSE if start else end), _BLINK_EVERY):
            if not times or at - times[-1] >= _BLINK_GAP:
                times.append(float(at))
    return times


def _loudness(speech: Speech) -> Floats:
    """Root mean squares in windows of 80 ms, every 40 ms."""
    half = max(int(_LOUDNESS_SECONDS / 2 * speech.sample_rate), 1)
    blocks = speech.samples[: len(speech.samples) // half * half].reshape(-1, half).astype(np.float64)
    power = (blocks**2).mean(1) if len(blocks) else np.zeros(0)
    return np.sqrt((power[:-1] + power[1:]) / 2) if len(power) > 1 else np.zeros(0)


def _peaks(level: Floats) -> list[float]:
    """Times of local maxima of loudness over a quarter of a second."""
    wide = np.lib.stride_tricks.sliding_window_view(np.pad(level, 3), 7).max(1)
    return [float(k * _LOUDNESS_SECONDS / 2) for k in np.flatnonzero((level == wide) & (level > 0))]


def _nods(rng: np.random.Generator, stressed: list[Accent], frames: int, fps: float) -> Floats:
    """Degrees down (frames,): short bumps at some accents, more likely at strong ones."""
    share, out, last = rng.uniform(*_NOD_SHARE), np.zeros(frames), -np.inf
    for accent in stressed:
        if accent.time - last < _NOD_GAP or rng.random() > 2 * share * accent.prominence:
            continue
        last = accent.time
        out += _bump(accent.time + rng.uniform(*_NOD_LAG), rng.uniform(*_NOD_SECONDS), frames, fps) * (
            rng.uniform(*_NOD_DEPTH) * (0.5 + accent.prominence / 2)
        )
    return out


def _brows(rng: np.random.Generator, stressed: list[Accent], frames: int, fps: float) -> Floats:
    """How far the brows are raised (frames,), 0 to 1, at some accents."""
    out = np.zeros(frames)
    for accent in stressed:
        if rng.random() < _BROW_SHARE * accent.prominence:
            out = np.maximum(out, rng.uniform(0.3, 0.8) * _bump(accent.time - 0.1, _BROW_SECONDS, frames, fps))
    return out


def _bump(start: float, seconds: float, frames: int, fps: float) -> Floats:
    """A raised cosine of height 1 (frames,) from `start` on."""
    part = np.clip((np.arange(frames) / fps - start) / seconds, 0, 1)
    return 0.5 - 0.5 * np.cos(2 * np.pi * part)


def _drift(rng: np.random.Generator, speech: Speech, frames: int, fps: float, reach: float) -> Floats:
    """Degrees (frames, 3) by which the head wanders; after some pauses it begins again from the middle."""
    times = [0.0]
    while times[-1] < frames / fps:
        times.append(times[-1] + rng.uniform(*_WANDER))
    path = eased_path(rng.standard_normal((len(times), 3)) * _DRIFT * reach, times, frames, fps).astype(np.float64)
    now = np.arange(frames) / fps
    for start, _ in pauses(speech):
        if rng.random() < _RECENTRED and start < now[-1]:
            there = np.clip((now - start) / _RETURN_SECONDS, 0, 1)
            gone = np.clip((now - start - _RETURN_SECONDS) / _STAY_SECONDS, 0, 1)
            shape = there**2 * (3 - 2 * there) * (1 - gone**2 * (3 - 2 * gone))
            path -= shape[:, None] * path[int(start * fps)]
    return path
