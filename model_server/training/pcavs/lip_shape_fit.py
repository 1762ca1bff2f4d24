"""Fits the network that tells the shape of lips from speech: minutes on a processor, as nothing is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_server.corpus.shards import Corpus
from model_server.corpus.speech.clips import decoded_samples
from model_server.corpus.synthetic import Settings, identity_name, spoken_landmarks
from model_server.engines.pcavs.spoken_lips import recogniser_mark
from model_server.errors import PoseDubError
from model_server.features import SAMPLE_RATE, gain_of
from model_server.networks.pcavs.lip_shape import SHAPES_PER_SECOND, LipShapeNetwork, heard_rows
from model_server.networks.pcavs.presets import OPTIONAL_PARTS
from model_server.networks.speech_recogniser.log_mel import log_mel
from model_server.networks.speech_recogniser.recogniser import Recogniser
from model_server.training.losses import correlation, known_l1
from model_server.training.pcavs.lip_shape import lip_shapes
from model_server.training.recogniser.sound_augment import augment, loudness

Floats = NDArray[np.float32]

_ROW = SAMPLE_RATE // SHAPES_PER_SECOND  # samples
_STRETCH, _BATCH = 50, 16  # rows of a stretch, and stretches of a step
_RATE, _DECAY, _FALLING, _NORM = 1e-3, 0.05, 0.5, 1.0
_NOISE = 0.1  # of what is heard, for its deviation
_STRENGTH = 0.7  # of the sound's changes
_FEWEST = 10  # rows for a correlation
_RENDERED = "synthetic"


@dataclass(frozen=True)
class Take:
    """A clip of somebody who is heard and seen to speak.

    Attributes:
        name: of the clip.
        rendered: whether the lips follow a renderer's rules.
        samples: mono 16 kHz.
        shapes: of the lips, (t, 4), NaN where not known.
    """

    name: str
    rendered: bool
    samples: Floats
    shapes: Floats


@dataclass(frozen=True)
class Lesson:
    """What a recogniser hears in a take (t, heard), half precision, and the lips' shapes (t, 4)."""

    rendered: bool
    heard: Tensor
    shapes: Tensor


@dataclass(frozen=True)
class LipShapeFit:
    """A fitted network.

    Attributes:
        state: its tensors, by their names in a weights file.
        filmed, rendered: correlation of told and true opening in takes not learnt from; NaN where there are none.
    """

    state: dict[str, Tensor]
    filmed: float
    rendered: float


def takes_of(folders: Sequence[Path], split: str) -> list[Take]:
    """Clips of corpora of footage, synthetic people or one actor, that keep sound and landmarks.

    Raises:
        PoseDubError: a corpus cannot be read, or has no such clip at all.
    """
    found = []
    for folder in folders:
        corpus = Corpus.open(folder)
        takes = [_take(corpus, name) for name in corpus.names(split)]
        if split == "train" and not any(takes):
            raise PoseDubError(f"The corpus {folder} keeps no sound beside its faces; build it again.")
        found += [take for take in takes if take]
    return found


def rendered_takes(settings: Settings, numbers: Iterable[int]) -> Iterator[Take]:
    """What synthetic people say and how their lips move, without pictures, which nothing here looks at.

    Raises:
        PoseDubError: the head model or the voices cannot be read.
    """
    for number in numbers:
        samples, landmarks, angles = spoken_landmarks(settings, number)
        yield Take(identity_name(settings.seed, number), True, samples, lip_shapes(landmarks, angles))


def fit_lip_shape(
    recogniser: Recogniser,
    digest: str,
    known: Sequence[Take],
    unknown: Sequence[Take],
    steps: int = 300,
    rendered: float = 0.25,
    versions: int = 3,
    gain: float = 1.0,
    progress: Callable[[], None] = lambda: None,
) -> LipShapeFit:
    """Fit the network.

    Args:
        recogniser: that hears; `digest`, the SHA-256 of its file.
        known: takes to learn from.
        unknown: takes to judge by.
        steps: of 16 stretches of two seconds.
        rendered: part of the stretches from rendered takes, where there are filmed ones, too.
        versions: how many times each filmed take is heard with changed voice, room and noise, beside as it is.
        gain: told shapes are made so many times as large, where drawn lips fall short of what they are told.
        progress: called after each step.

    Raises:
        PoseDubError: all clips are short.
    """
    if not any(len(take.shapes) > _STRETCH for take in known):
        raise PoseDubError(f"Lips are learnt from clips of more than {_STRETCH} frames; give longer ones.")
    rng = np.random.default_rng(0)
    lessons = [
        lesson for take in known for lesson in _lessons(recogniser, take, known, 0 if take.rendered else versions, rng)
    ]
    network = LipShapeNetwork()
    every = torch.cat([lesson.heard for lesson in lessons]).float()
    network.mean.copy_(every.mean(0))
    network.deviation.copy_(every.std(0) + 1e-3)
    network.hears.copy_(recogniser_mark(digest))
    _learn(network, lessons, steps, rendered, rng, progress)
    judged = [next(_lessons(recogniser, take, (), 0, rng)) for take in unknown]
    filmed, made = (_agreement(network, [one for one in judged if one.rendered is kind]) for kind in (False, True))
    network.amplify(gain)
    prefix = OPTIONAL_PARTS["lip_shape"]
    return LipShapeFit({prefix + name: value for name, value in network.state_dict().items()}, filmed, made)


def _take(corpus: Corpus, name: str) -> Take | None:
    tensors = corpus.tensors(name)
    if not tensors.keys() >= {"sound", "landmarks", "angles"}:
        return None
    samples = decoded_samples(tensors["sound"].tobytes())
    shapes = lip_shapes(tensors["landmarks"], tensors["angles"])
    return Take(name, corpus.entry(name).source == _RENDERED, samples, shapes)


def _lessons(
    recogniser: Recogniser, take: Take, others: Sequence[Take], versions: int, rng: np.random.Generator
) -> Iterator[Lesson]:
    """What is heard in a take as it is, then in changed ones, whose rows lie elsewhere in time."""
    level = take.samples * gain_of(loudness(take.samples))
    yield _lesson(recogniser, take.rendered, level, take.shapes)
    for _ in range(versions):
        changed = augment(level, rng, _STRENGTH, lambda draw: others[int(draw.integers(len(others)))].samples)
        rows = (np.arange(len(changed.samples) // _ROW) + 0.5) / SHAPES_PER_SECOND
        places = (rows - changed.lead) * changed.rate * SHAPES_PER_SECOND - 0.5
        yield _lesson(recogniser, take.rendered, changed.samples, _at(take.shapes, places))


def _lesson(recogniser: Recogniser, rendered: bool, samples: Floats, shapes: Floats) -> Lesson:
    with torch.inference_mode():
        rows = heard_rows(recogniser(log_mel(torch.from_numpy(np.pad(samples, (0, -len(samples) % _ROW)))[None])))[0]
    count = min(len(rows), len(shapes))
    return Lesson(rendered, rows[:count].half(), torch.from_numpy(shapes[:count]))


def _at(shapes: Floats, places: NDArray[np.floating]) -> Floats:
    """Shapes at places among them; not known outside."""
    inside = (places >= 0) & (places <= len(shapes) - 1)
    rows = [np.interp(places, np.arange(len(shapes)), column) for column in shapes.T]
    return np.where(inside[:, None], np.stack(rows, 1), np.nan).astype(np.float32)


def _learn(
    network: LipShapeNetwork,
    lessons: Sequence[Lesson],
    steps: int,
    rendered: float,
    rng: np.random.Generator,
    progress: Callable[[], None],
) -> None:
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
    pools = [[one for one in lessons if one.rendered is kind and len(one.heard) >= _STRETCH] for kind in (False, True)]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, (steps - step) / (_FALLING * steps))
        heard, shapes = _stretches(pools, rendered, rng)
        noisy = heard + _NOISE * network.deviation * torch.randn_like(heard)
        optimizer.zero_grad()
        known_l1(network(noisy), shapes).backward()
        nn.utils.clip_grad_norm_(network.parameters(), _NORM)
        optimizer.step()
        progress()
    network.eval()


def _stretches(pools: Sequence[Sequence[Lesson]], rendered: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    filmed, made = pools
    heard, shapes = [], []
    for _ in range(_BATCH):
        pool = made if made and (not filmed or rng.random() < rendered) else filmed
        one = pool[int(rng.integers(len(pool)))]
        first = int(rng.integers(len(one.heard) - _STRETCH + 1))
        heard.append(one.heard[first : first + _STRETCH].float())
        shapes.append(one.shapes[first : first + _STRETCH])
    return torch.stack(heard), torch.stack(shapes)


@torch.no_grad()
def _agreement(network: LipShapeNetwork, lessons: Sequence[Lesson]) -> float:
    """Mean correlation of the opening."""
    found = []
    for lesson in lessons:
        told, true = network(lesson.heard[None].float())[0, :, 0], lesson.shapes[:, 0]
        seen = torch.isfinite(true)
        if seen.sum() >= _FEWEST and true[seen].std() > 0:
            found.append(correlation(told[seen], true[seen]))
    return float(np.mean(found)) if found else float("nan")
