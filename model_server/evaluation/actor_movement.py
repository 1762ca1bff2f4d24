"""How an actor moves by itself: how much, how fast, with the voice, steadily, and whether it does what is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.actor.statistics import AXES, moving_mean, power_end
from model_server.corpus.mesh import MeshReader
from model_server.evaluation.actor_films import ActorFilms
from model_server.evaluation.clips import EvalClip
from model_server.evaluation.measure import faces_of
from model_server.evaluation.metrics.registry import mean
from model_server.evaluation.views import Pictures, batches

Floats = NDArray[np.floating]

ASKED = (-15.0, -10.0, -5.0, 5.0, 10.0, 15.0)  # degrees
_BEAT_SPREAD = 3.0  # frames: how near a turn of the head lies to an onset
_SMOOTH = 5  # frames over which a head's angles are smoothed before its speed is read
_ONSET_RISE_DB, _ONSET_WINDOW = 6.0, 160  # a rise of loudness within 30 ms; samples of a level
_ONSET_GAP = 12  # levels of 10 ms
_CORNER = 0.12  # side of the pictures' upper corners, which are background
_STILL_FRAMES, _POSE_FRAMES = 75, 12
_SEEDS = range(1, 6)


@dataclass(frozen=True)
class Figure:
    """A figure of one method.

    Attributes:
        title: what it is.
        values: by method.
        definition: what exactly it is, one sentence.
    """

    title: str
    values: dict[str, float]
    definition: str


def own_movement(films: ActorFilms, takes: Sequence[EvalClip], reader: MeshReader, several: int = 0) -> list[Figure]:
    """Figures of an actor's own movement beside that of true frames.

    Args:
        films: of the actor.
        takes: unseen ones of the same actor.
        reader: of landmarks.
        several: steps of the sampler, to compare shared with independent noise; 0 for a student alone.
    """
    true = [faces_of((take.views(*span) for span in batches(take.count)), reader).angles for take in takes]
    made = [faces_of(films.spoken(take), reader).angles for take in takes]
    sounds = [take.samples(0, take.count * 640) for take in takes]
    onsets = [sound_onsets(sound) if sound is not None else np.zeros(0) for sound in sounds]
    told = [films.told_poses(take, number) for number, take in enumerate(takes)]
    labels = [read if take.angles is None else take.angles for take, read in zip(takes, true, strict=True)]
    figures = _amounts(made, true) + [
        aligned_beats("beat alignment of predicted poses", told, labels, onsets),
        aligned_beats("beat alignment in frames", made, true, onsets),
    ]
    figures += _diversity(films, takes)
    return figures + _control(films, takes[0], reader) + _steadiness(films, takes[0], reader, several)


def sound_onsets(samples: NDArray[np.float32]) -> Floats:
    """Times of onsets, frames of 25 a second: where loudness rises by 6 dB and more within 30 ms."""
    blocks = samples[: len(samples) // _ONSET_WINDOW * _ONSET_WINDOW].reshape(-1, _ONSET_WINDOW).astype(np.float64)
    level = 10 * np.log10((blocks**2).mean(axis=1) + 1e-9)
    level = np.maximum(level, level.max(initial=-90.0) - 40)  # what is much softer than the speech is no onset
    rise = np.concatenate([np.zeros(3), level[3:] - level[:-3]])
    times: list[int] = []
    for k in np.flatnonzero(rise > _ONSET_RISE_DB):
        if not times or k - times[-1] >= _ONSET_GAP:
            times.append(int(k))
    return np.array(times) * _ONSET_WINDOW / 640


def motion_beats(angles: Floats) -> Floats:
    """Frames at which a head's angular speed is least between two movements; angles (n, 3) may have rows of NaN."""
    steady = angles[np.isfinite(angles).all(axis=1)]
    if len(steady) < 2 * _SMOOTH:
        return np.zeros(0)
    speed = np.linalg.norm(np.gradient(moving_mean(steady, _SMOOTH), axis=0), axis=1)
    lows = (speed[1:-1] < speed[:-2]) & (speed[1:-1] <= speed[2:])
    return np.flatnonzero(lows) + 1.0


def beat_alignment(beats: Floats, onsets: Floats) -> float:
    """Mean over motion beats of exp(-d^2 / 2 s^2), d frames to the nearest onset, s 3; NaN without either."""
    if not len(beats) or not len(onsets):
        return float("nan")
    distance = np.abs(beats[:, None] - onsets).min(axis=1)
    return float(np.exp(-(distance**2) / (2 * _BEAT_SPREAD**2)).mean())


def flicker(films: Iterable[Pictures]) -> float:
    """Deviation over time of the pixels in the upper corners of network views, of 255, the mean over pixels."""
    frames = np.concatenate(list(films)).astype(np.float32)
    side = int(_CORNER * frames.shape[1])
    corners = np.concatenate([frames[:, :side, :side], frames[:, :side, -side:]], axis=2)
    return float(corners.std(axis=0).mean())


def _amounts(made: Sequence[Floats], true: Sequence[Floats]) -> list[Figure]:
    deviations = [np.sqrt(np.mean([_filled(a).var(axis=0) for a in angles], axis=0)) for angles in (made, true)]
    ends = [power_end([_filled(a) for a in angles]) for angles in (made, true)]
    figures = []
    for axis, name in enumerate(AXES):
        figures.append(Figure(
            f"{name} moved", {"made": float(deviations[0][axis] / max(deviations[1][axis], 1e-9)), "true": 1.0},
            f"Deviation of the {name} within clips over that of true frames, read by the mesh.",
        ))  # fmt: skip
        figures.append(Figure(
            f"{name} power, Hz", {"made": float(ends[0][axis]), "true": float(ends[1][axis])},
            f"Frequency below which nine tenths of the {name}'s power lie.",
        ))  # fmt: skip
    return figures


def aligned_beats(title: str, made: Sequence[Floats], true: Sequence[Floats], onsets: Sequence[Floats]) -> Figure:
    """Motion beats of courses of angles at onsets of their own sounds, and of all others' for comparison.

    The face mesh adds beats of its own where it reads frames: its angles tremble, and open lips look like a nod.
    """
    rows: dict[str, float] = {}
    for name, angles in (("made", made), ("true", true)):
        beats = [motion_beats(course) for course in angles]
        own = np.array([beat_alignment(one, heard) for one, heard in zip(beats, onsets, strict=True)])
        rows[name] = mean(own)
        if len(onsets) > 1:
            other = np.array([mean(beat_alignment(one, heard) for k, heard in enumerate(onsets) if k != number)
                              for number, one in enumerate(beats)])  # fmt: skip
            apart = (own - other)[np.isfinite(own - other)]
            rows[f"{name}, other sound"] = mean(other)
            rows[f"{name}, standard error of the difference"] = float(apart.std() / max(len(apart), 1) ** 0.5)
    return Figure(title, rows, beat_alignment.__doc__ or "")


def _diversity(films: ActorFilms, takes: Sequence[EvalClip]) -> list[Figure]:
    """How far seeds lie apart, over the deviation of the poses trained with."""
    trained = films.engine.trained_deviation
    apart = []
    for take in takes:
        told = np.stack([films.told_poses(take, seed) for seed in _SEEDS])
        apart.append(told.std(axis=0).mean(axis=0) / np.maximum(trained, 1e-6))
    values = dict(zip(AXES, np.mean(apart, axis=0).tolist(), strict=True))
    definition = "Deviation of Pose from Speech over five seeds, over that of the poses trained with; 0 without a seed."
    return [Figure("diversity", values, definition)]


def _control(films: ActorFilms, take: EvalClip, reader: MeshReader) -> list[Figure]:
    """Mean error of asked yaw, pitch and roll, from the actor's usual pose on."""
    low, high = np.array(films.actor.pose_low), np.array(films.actor.pose_high)
    usual = films.engine.pose_codes(np.zeros((1, 1, 1, 3), np.uint8))[0]
    moments = np.linspace(0, take.count - 1, _POSE_FRAMES).astype(int).tolist()

    def shown(pose: Floats) -> Floats:
        views = films.film(take, np.repeat(pose[None], _POSE_FRAMES, axis=0).astype(np.float32), moments)
        return np.array([mean(column) for column in faces_of(views, reader).angles.T])

    middle, figures = shown(usual), []
    for axis, name in enumerate(AXES):
        errors = {}
        for angle in ASKED:
            pose = usual.copy()
            pose[axis] = angle
            if low[axis] <= angle <= high[axis]:
                moved = float(shown(pose)[axis] - middle[axis])
                errors[f"{angle:+.0f}"] = abs(moved - (angle - float(usual[axis])))
        if errors:
            values = {"made": float(np.mean(list(errors.values()))), **errors}
            told = f"Mean difference in degrees between the change of {name} that is asked and shown, in trained range."
            figures.append(Figure(f"{name} asked", values, told))
    return figures


def _steadiness(films: ActorFilms, take: EvalClip, reader: MeshReader, several: int) -> list[Figure]:
    still = replace(films, gain=0.0)
    held = _filled(faces_of(still.spoken(take, _STILL_FRAMES), reader).angles).std(axis=0)
    rows = {"made": flicker(still.spoken(take, _STILL_FRAMES))}
    if several:
        rows[f"{several} steps"] = flicker(still.with_steps(several).spoken(take, _STILL_FRAMES))
        apart = replace(still, steps=several, shared=False)
        rows[f"{several} steps, own noise for each frame"] = flicker(apart.spoken(take, _STILL_FRAMES))
    return [
        Figure("hold still", {"made": float(held.max())}, "Largest deviation of a head's angles that is held still."),
        Figure("flicker", rows, flicker.__doc__ or ""),
    ]


def _filled(angles: Floats) -> Floats:
    """Angles whose rows of NaN hold the last known ones."""
    known = np.flatnonzero(np.isfinite(angles).all(axis=1))
    if not len(known):
        return np.zeros_like(angles)
    before = known[np.clip(np.searchsorted(known, np.arange(len(angles)), side="right") - 1, 0, None)]
    return angles[before]


def as_table(figures: Sequence[Figure]) -> str:
    """A Markdown table of all figures."""
    lines = ["| Figure | Value | Definition |", "|---|---|---|"]
    for figure in figures:
        values = ", ".join(f"{name} {value:.3g}" for name, value in figure.values.items())
        lines.append(f"| {figure.title} | {values} | {' '.join(figure.definition.split())} |")
    return "\n".join(lines) + "\n"
