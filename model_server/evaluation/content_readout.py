"""How much of what is said is in a speech content: phonemes read from it linearly, frame by frame.

The read-out is ridge regression onto the phonemes, fitted on speakers of the training split and tried on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.shards import FPS, Corpus, Entry
from model_server.corpus.sound import clip_mel, clip_rms
from model_server.corpus.speech.clips import SpeechClip, read_speech_clip
from model_server.engines.speech_recogniser import STEPS_PER_SECOND, HeardSpeech, SpeechRecogniser
from model_server.evaluation.speech_recognition import samples_of
from model_server.features import SAMPLE_RATE, clip_windows

Floats = NDArray[np.floating]
Contents = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_RIDGE = 1e-2  # of the mean variance of the features
_SILENCE = 0


@dataclass(frozen=True)
class ReadoutFigures:
    """Shares of frames whose phoneme is read right.

    Attributes:
        all: of all frames, silence being one of the classes.
        spoken: of those in which something is said.
        frames: how many were tried.
    """

    all: float
    spoken: float
    frames: int


def readout_figures(
    contents: Contents,
    recogniser: SpeechRecogniser,
    learnt: Sequence[tuple[Corpus, Entry]],
    tried: Sequence[tuple[Corpus, Entry]],
) -> ReadoutFigures:
    """Fit on `learnt` and try on `tried`.

    Args:
        contents: speech contents (n, d) of windows (n, 80, 20).
        recogniser: tells the phonemes of clips whose times are not known.
        learnt, tried: voice clips.
    """
    classes = 1 + len(recogniser.units)
    weights = _fitted(*_gathered(contents, recogniser, learnt), classes)
    features, said = _gathered(contents, recogniser, tried)
    right = _with_one(features) @ weights
    hits = right.argmax(axis=1) == said
    spoken = said != _SILENCE
    return ReadoutFigures(float(hits.mean()), float(hits[spoken].mean()) if spoken.any() else float("nan"), len(said))


def phonemes_at_frames(clip: SpeechClip, frames: int, recogniser: SpeechRecogniser) -> NDArray[np.int64]:
    """Class (n,) said in the middle of each frame: silence, or the unit's number and one."""
    middles = (np.arange(frames) + 0.5) / FPS
    if clip.unit_times is None:
        return _heard_at(recogniser.hear(samples_of(clip)), middles)
    row = np.maximum(np.searchsorted(clip.unit_times[:, 1], middles, "right") - 1, 0)
    return np.where(middles < clip.unit_times[row, 2], clip.unit_times[row, 0].astype(np.int64) + 1, _SILENCE)


def _heard_at(heard: HeardSpeech, seconds: Floats) -> NDArray[np.int64]:
    """The likeliest class around each moment, which lies between two steps."""
    first = np.floor(seconds * STEPS_PER_SECOND - 0.5).astype(int)
    rows = np.clip(np.stack([first, first + 1]), 0, len(heard.frames) - 1)
    return np.exp(heard.frames[rows]).mean(axis=0).argmax(axis=1)


def _gathered(
    contents: Contents, recogniser: SpeechRecogniser, clips: Sequence[tuple[Corpus, Entry]]
) -> tuple[Floats, NDArray[np.int64]]:
    """Contents and classes of all frames of some clips."""
    features, said = [], []
    for corpus, entry in clips:
        clip = read_speech_clip(corpus, entry.name)
        samples = samples_of(clip)
        frames = len(samples) * FPS // SAMPLE_RATE
        mel = clip_mel(samples, frames, clip_rms(samples, frames))
        features.append(contents(clip_windows(mel, range(frames), Fraction(FPS))))
        said.append(phonemes_at_frames(clip, frames, recogniser))
    # Networks read contents behind a ReLU.
    return np.maximum(np.concatenate(features), 0), np.concatenate(said)


def _fitted(features: Floats, said: NDArray[np.int64], classes: int) -> Floats:
    """Weights (d + 1, classes) of the ridge regression."""
    rows = _with_one(features).astype(np.float64)
    products = rows.T @ rows
    products[np.diag_indices_from(products)] += _RIDGE * np.trace(products) / len(products)
    return np.linalg.solve(products, rows.T @ np.eye(classes)[said])


def _with_one(features: Floats) -> Floats:
    return np.concatenate([features, np.ones((len(features), 1), features.dtype)], axis=1)
