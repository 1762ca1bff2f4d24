"""When each phoneme unit of a known text is said: the best path through what a recogniser hears in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.engines.speech_recogniser import STEPS_PER_SECOND, HeardSpeech

STEP = 1 / STEPS_PER_SECOND  # seconds
_SILENCE = 0
# Part of the CTC scores in those of a step: they are right about voices that the frame scores never learnt from, but
# vague about times.
_CTC_SHARE = 0.3
_FLOOR = -12.0  # log-probability; one odd step must not bend the path
_UNREACHED = -1e9

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Span:
    """Where one unit, or a pause (number -1), is said: start and end in seconds, and how sure that is, 0 to 1."""

    number: int
    start: float
    end: float
    score: float


def align_units(heard: HeardSpeech, words: Sequence[Sequence[int]]) -> list[Span]:
    """Spans of all units in order, numbered through, and of the pauses between words; none overlap.

    Args:
        heard: what the recogniser says, t steps.
        words: numbers of the units of each word.

    Raises:
        ValueError: more units than steps.
    """
    units = [unit for word in words for unit in word]
    if len(units) > len(heard.frames):
        raise ValueError(f"{len(units)} phonemes do not fit into {len(heard.frames) * STEP:.2f} seconds")
    classes, numbers, optional = _states(words)
    scores = _scores(heard, classes)
    path = best_path(scores, optional)
    return _spans(path, numbers, scores)


def _states(words: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], list[int], NDArray[np.bool_]]:
    """Class, unit number (-1: pause), and whether it may be skipped, of each state of the path."""
    classes, numbers, optional = [_SILENCE], [-1], [True]
    number = 0
    for word in words:
        for unit in word:
            classes.append(unit + 1)
            numbers.append(number)
            optional.append(False)
            number += 1
        classes.append(_SILENCE)
        numbers.append(-1)
        optional.append(True)
    return np.array(classes), numbers, np.array(optional)


def _scores(heard: HeardSpeech, classes: NDArray[np.int64]) -> Floats:
    """How well each state fits each step (t, states)."""
    said = heard.ctc.copy()
    # Where CTC says nothing it is silent about phonemes too: only what stands out among them counts.
    said[:, 1:] -= np.logaddexp.reduce(said[:, 1:], axis=1, keepdims=True)
    weight = _CTC_SHARE * np.exp(np.logaddexp.reduce(heard.ctc[:, 1:], axis=1, keepdims=True))
    both = np.maximum(heard.frames, _FLOOR)
    both[:, 1:] = (1 - weight) * both[:, 1:] + weight * np.maximum(said[:, 1:], _FLOOR)
    return both[:, classes]


def best_path(scores: Floats, optional: NDArray[np.bool_]) -> NDArray[np.int64]:
    """State of each step on the best way through all states in order (Viterbi 1967).

    Args:
        scores: (t, states) log-probabilities.
        optional: (states,) those that may be skipped; no two in a row.
    """
    steps, states = scores.shape
    before = np.zeros((steps, states), np.int8)
    total = np.full(states, _UNREACHED)
    total[: 1 + int(optional[0])] = scores[0, : 1 + int(optional[0])]
    skips = np.concatenate([[False, False], optional[1:-1]])
    for t in range(1, steps):
        one = np.concatenate([[_UNREACHED], total[:-1]])
        two = np.where(skips, np.concatenate([[_UNREACHED, _UNREACHED], total[:-2]]), _UNREACHED)
        choices = np.stack([total, one, two])
        before[t] = choices.argmax(0)
        total = choices.max(0) + scores[t]
    ends = [states - 1, states - 2] if optional[-1] and states > 1 else [states - 1]
    path = np.empty(steps, np.int64)
    path[-1] = max(ends, key=lambda state: total[state])
    for t in range(steps - 1, 0, -1):
        path[t - 1] = path[t] - before[t, path[t]]
    return path


def _spans(path: NDArray[np.int64], numbers: Sequence[int], scores: Floats) -> list[Span]:
    """Runs of one state, their borders moved to where the neighbour's score becomes the better one within a step."""
    changes = np.flatnonzero(np.diff(path)) + 1
    begins, ends = [0, *changes.tolist()], [*changes.tolist(), len(path)]
    times = [0.0, *(_border(scores, int(at), path[at - 1], path[at]) for at in changes), len(path) * STEP]
    spans = []
    for k, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        state = path[begin]
        score = float(np.exp(scores[begin:end, state].mean()))
        spans.append(Span(numbers[state], times[k], times[k + 1], score))
    return spans


def _border(scores: Floats, at: int, left: int, right: int) -> float:
    """Second at which the state `right` takes over from `left`, near the border between steps `at` - 1 and `at`."""
    margin = scores[at - 1 : at + 1, left] - scores[at - 1 : at + 1, right]
    before, after = float(margin[0]), float(margin[1])
    share = before / (before - after) if before > 0 > after else 0.5
    return (at - 0.5 + share) * STEP  # scores stand at the middles of steps
