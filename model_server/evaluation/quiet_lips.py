"""Do lips rest where nobody speaks? Pictures driven by silence, noise, music, breath and applause, beside speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.shards import FPS
from model_server.corpus.sound import clip_mel, clip_rms
from model_server.engines.pcavs.conditioning import PUBLISHED_GAIN
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.evaluation.measure import Instruments, faces_of
from model_server.evaluation.metrics.registry import mean
from model_server.evaluation.views import Pictures
from model_server.features import SAMPLE_RATE, clip_windows
from model_server.pipeline.faces.relief import relief_of
from model_server.training.recogniser.background import KINDS

Samples = NDArray[np.float32]

FRAMES = 40
# A sound without speech may be all there is, or lie so far below the speech of its source.
LEVELS_DB = {"alone": 0.0, "in a pause": -20.0}
SPEECH = "speech"


@dataclass(frozen=True)
class QuietLips:
    """Mean lip opening over the distance between the eyes.

    Attributes:
        speech: of speech.
        quiet: of each sound without speech, by its name.
    """

    speech: float
    quiet: dict[str, float]

    def shares(self) -> dict[str, float]:
        """Openings without speech for that of speech."""
        return {name: opening / max(self.speech, 1e-9) for name, opening in self.quiet.items()}


def quiet_lips(
    stills: Mapping[str, Pictures], speech: Sequence[Samples], engine: PcavsEngine, tools: Instruments
) -> dict[str, QuietLips]:
    """Let each picture hear speech and sounds without it.

    Args:
        stills: network views (224, 224, 3) by name.
        speech: mono 16 kHz recordings.
        engine: with the weights under test.
        tools: the independent detector of landmarks.
    """
    sounds = quiet_windows()
    talk = np.concatenate([_windows(samples, 1.0) for samples in speech])
    return {
        name: QuietLips(
            _opening(view, talk, engine, tools),
            {kind: _opening(view, windows, engine, tools) for kind, windows in sounds.items()},
        )
        for name, view in stills.items()
    }


def quiet_windows(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Mel windows (n, 80, 20) of sounds without speech, by name."""
    count = FRAMES * SAMPLE_RATE // FPS
    windows = {"silence": _windows(np.zeros(count, np.float32), 1.0)}
    for number, (kind, make) in enumerate(KINDS.items()):
        samples = 0.1 * make(np.random.default_rng([seed, number]), count)
        for place, level in LEVELS_DB.items():
            windows[f"{kind} {place}"] = _windows(samples, 10 ** (-level / 20))
    return windows


def _windows(samples: Samples, louder: float) -> NDArray[np.float32]:
    """Windows of a sound that is part of a source so many times louder."""
    frames = min(FRAMES, len(samples) * FPS // SAMPLE_RATE)
    mel = clip_mel(samples, frames, clip_rms(samples, frames) * louder)
    return clip_windows(mel, range(frames), Fraction(FPS))


def _opening(view: Pictures, windows: NDArray[np.float32], engine: PcavsEngine, tools: Instruments) -> float:
    identity = engine.identity(view[None], relief=relief_of(view))
    codes = identity.pose[None].repeat(len(windows), 0)
    return mean(faces_of([engine.frames(identity, windows, codes, PUBLISHED_GAIN, 0)], tools.reader).opening)


def as_table(found: Mapping[str, QuietLips]) -> str:
    """Markdown: a row for each picture, openings as shares of that of speech."""
    kinds = list(next(iter(found.values())).quiet)
    lines = [f"| picture | {SPEECH} | {' | '.join(kinds)} |", "|" + " --- |" * (len(kinds) + 2)]
    for name, lips in found.items():
        shares = [f"{share:.2f}" for share in lips.shares().values()]
        lines.append(f"| {name} | {lips.speech:.3f} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"
