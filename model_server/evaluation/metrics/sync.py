"""Are lips and sound in sync, as our own sync judge sees it?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_server.evaluation.comparison import Acceptance, Comparison, Pair
from model_server.evaluation.metrics.registry import mean, metric

Floats = NDArray[np.floating]

REACH = 15  # frames to either side
_ROUNDING = 1e-5
_FEWEST = 20  # frames that a mean agreement takes
_STILL = 0.003  # deviation of lip opening that is no speech
_JUDGE = "our own sync judge, a small audio-visual network trained apart from the generator"


def agreement(pair: Pair) -> Floats:
    """Agreement (n, 31) of each frame's pictures with the sound of the frames 15 before to 15 after; NaN outside.

    It is the product of unit embeddings less their means over the clip: otherwise the silence at a clip's ends, in
    which any closed mouth is at home, would find a still picture in sync.
    """
    count = min(len(pair.pictures), len(pair.sound))
    pictures, sound = (_centred(values[:count]) for values in (pair.pictures, pair.sound))
    agreements = np.full((count, 2 * REACH + 1), np.nan)
    for column, offset in enumerate(range(-REACH, REACH + 1)):
        first, end = max(-offset, 0), min(count, count - offset)
        if first < end:
            agreements[first:end, column] = (pictures[first:end] * sound[first + offset : end + offset]).sum(axis=1)
    return agreements


def _centred(values: Floats) -> Floats:
    """Unit vectors of (n, d), less their mean."""
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
    moved = unit - unit.mean(axis=0)
    return np.where(np.abs(moved) < _ROUNDING, 0, moved)


def offset_course(pair: Pair) -> Floats:
    """Mean agreement at offsets -15 to 15, (31,); NaN where fewer than 20 frames have a counterpart."""
    agreements = agreement(pair)
    enough = np.isfinite(agreements).sum(axis=0) >= _FEWEST
    return np.array([mean(column) if counts else np.nan for column, counts in zip(agreements.T, enough, strict=True)])


def found_offset(pair: Pair) -> float:
    """Frames by which the sound comes later than the lips where they agree best; NaN for clips under a second."""
    course = offset_course(pair)
    return float(np.nanargmax(course)) - REACH if np.isfinite(course).any() else float("nan")


def confidence(pair: Pair) -> float:
    """Best minus median of the mean agreement over the offsets; NaN for clips under a second."""
    course = offset_course(pair)
    return float(np.nanmax(course) - np.nanmedian(course)) if np.isfinite(course).any() else float("nan")


def movement(pair: Pair) -> float:
    """How far lips move over how far the sound lets expect: slope of what is seen against what is heard, both at the
    offset found where that is within a frame, else at 0; NaN where the sound expects no movement.

    Somebody else's speech, a frozen mouth and lips that hardly open all give small values.
    """
    if pair.seen is None or pair.heard is None:
        return float("nan")
    count = min(len(pair.seen), len(pair.heard))
    offset = found_offset(pair)
    shift = int(offset) if abs(offset) <= 1 else 0
    seen = pair.seen[max(-shift, 0) : count - max(shift, 0)]
    heard = pair.heard[max(shift, 0) : count - max(-shift, 0)]
    if len(seen) < _FEWEST or heard.std() < _STILL:
        return float("nan")
    heard = heard - heard.mean()
    return float((seen * heard).sum() / (heard**2).sum())


def accepted(pair: Pair, from_where: Acceptance) -> bool:
    """Whether lips follow the sound: found within a frame, with confidence and movement as most true clips have."""
    sure = abs(found_offset(pair)) <= 1 and confidence(pair) >= from_where.confidence
    return bool(sure and movement(pair) >= from_where.movement)


@metric(
    "sync_found", "Sync found", "higher",
    f"Share of clips for which {_JUDGE}, finds the sound at the offset 0 or +-1 frame among -15 to +15.",
)  # fmt: skip
def sync_found(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    offsets = [found_offset(c.sync) for c in comparisons if c.sync]
    return mean(float(abs(offset) <= 1) for offset in offsets if np.isfinite(offset))


@metric("sync_offset", "Sync offset, frames", "lower", "Mean absolute offset that the judge finds.")
def sync_offset(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(abs(found_offset(c.sync)) for c in comparisons if c.sync)


@metric(
    "sync_retrieved", "Sync retrieved", "higher",
    "Share of frames whose nearest sound, by the judge, among those within 15 frames is at most 1 frame away.",
)  # fmt: skip
def sync_retrieved(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(retrieved_share(c.sync) for c in comparisons if c.sync)


def retrieved_share(pair: Pair) -> float:
    """Share of frames whose nearest sound within 15 frames is at most 1 frame away."""
    nearest = np.nan_to_num(agreement(pair), nan=-2.0).argmax(axis=1)
    return float((np.abs(nearest - REACH) <= 1).mean())


@metric(
    "sync_confidence", "Sync confidence", "higher",
    "Best minus median of the judge's mean agreement over the offsets -15 to +15.",
)  # fmt: skip
def sync_confidence(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(confidence(c.sync) for c in comparisons if c.sync)


@metric(
    "sync_accepted", "Sync accepted", "higher",
    "Share of clips whose offset is found within 1 frame with a confidence and a lip movement that 95 % of true clips "
    "kept out reach.",
)  # fmt: skip
def sync_accepted(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(float(accepted(c.sync, c.acceptance)) for c in comparisons if c.sync and c.acceptance)


@metric(
    "sync_movement", "Movement for the sound", "higher",
    "Lip movement that the judge sees over what it expects of the sound (slope): true frames about 1, other speech 0.",
)  # fmt: skip
def sync_movement(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(movement(c.sync) for c in comparisons if c.sync)


@metric(
    "sync_follows", "Delay found", "higher",
    "Share of clips for which, when the sound comes 5 frames later, the offset that the judge finds grows by 5.",
)  # fmt: skip
def sync_follows(comparisons: Sequence[Comparison]) -> float:
    """See the definition."""
    return mean(
        float(found_offset(Pair(c.sync.pictures, c.delayed)) - found_offset(c.sync) == c.delay)
        for c in comparisons
        if c.sync and c.delayed is not None and np.isfinite(found_offset(c.sync))
    )
