"""Lips that nearly follow the sound, for the sync judge to tell from those that do: made of a clip's own true frames.

Frozen: one frame all the time. Shifted: sound a little late or early. Damped: of each moment, that frame of the clip
whose lips are open by 30 to 70 % of the true movement, so that no picture looks made. Other: somebody else's speech,
as long and as loud.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Mouths = NDArray[np.uint8]
Floats = NDArray[np.floating]

SHIFTS = (-6, -5, -4, -3, 3, 4, 5, 6)  # frames that are heard and seen, yet close
DAMPED_TO = (0.3, 0.7)
# Frames far away in the clip show another pose of the head; so much opening is worth a frame of distance.
_DISTANCE_COST = 0.0005
_LOUDNESS_RANGE = 0.05  # of the features, within which two sounds are about as loud


@dataclass(frozen=True)
class Example:
    """A clip as the judge sees it.

    Attributes:
        mouths: (n, 48, 48).
        windows: mel windows (n, 80, 20).
        opening: (n,) lip opening, None where it is not known.
    """

    mouths: Mouths
    windows: NDArray[np.float32]
    opening: NDArray[np.float32] | None = None


def frozen(example: Example, at: int) -> Example:
    """The clip with the mouth of frame `at` all the time."""
    return replace(example, mouths=np.repeat(example.mouths[at : at + 1], len(example.mouths), axis=0))


def shifted(example: Example, frames: int) -> Example:
    """The clip whose sound comes so many frames later, as long as both are there."""
    count = len(example.mouths) - abs(frames)
    late, early = max(frames, 0), max(-frames, 0)
    opening = None if example.opening is None else example.opening[late : late + count]
    return Example(example.mouths[late : late + count], example.windows[early : early + count], opening)


def damped(example: Example, share: float) -> Example | None:
    """The clip whose lips move by a share of what they did; None where their opening is not known."""
    if example.opening is None or not np.isfinite(example.opening).all():
        return None
    return replace(example, mouths=example.mouths[damped_frames(example.opening, share)])


def damped_frames(opening: Floats, share: float) -> NDArray[np.int64]:
    """Frame (n,) to show at each moment so that lips open by a share of their movement around its mean."""
    wanted = opening.mean() + share * (opening - opening.mean())
    here = np.arange(len(opening))
    cost = np.abs(opening[None] - wanted[:, None]) + _DISTANCE_COST * np.abs(here[None] - here[:, None])
    return cost.argmin(axis=1)


def with_other_speech(example: Example, others: Sequence[Example]) -> Example | None:
    """The clip with the sound of that other one that is loud at about the same time; None where none is."""
    long_enough = [other for other in others if len(other.windows) >= len(example.windows)]
    if not long_enough:
        return None
    level = _loudness(example.windows)
    nearest = min(long_enough, key=lambda other: abs(_loudness(other.windows) - level))
    fits = abs(_loudness(nearest.windows) - level) <= _LOUDNESS_RANGE
    return replace(example, windows=nearest.windows[: len(example.windows)]) if fits else None


def _loudness(windows: NDArray[np.float32]) -> float:
    return float(windows.mean())


KINDS: dict[str, Callable[[Example, np.random.Generator, Sequence[Example]], Example | None]] = {
    "frozen": lambda example, rng, others: frozen(example, int(rng.integers(len(example.mouths)))),
    "shifted": lambda example, rng, others: shifted(example, int(rng.choice(SHIFTS))),
    "damped": lambda example, rng, others: damped(example, float(rng.uniform(*DAMPED_TO))),
    "other speech": lambda example, rng, others: with_other_speech(example, others),
}
