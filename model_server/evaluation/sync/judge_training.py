"""Trains the sync judge on corpora of true clips: minutes on a CPU."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model_server.corpus.pictures import decode_jpeg
from model_server.corpus.shards import Clip, Corpus, windows
from model_server.errors import PoseDubError
from model_server.evaluation.comparison import Acceptance, Pair
from model_server.evaluation.metrics.sync import accepted, confidence, found_offset, movement, retrieved_share
from model_server.evaluation.sync.hard_negatives import DAMPED_TO, KINDS, SHIFTS, Example, damped_frames
from model_server.evaluation.sync.judge import MARGIN, Mouths, Runs, SyncJudge, mouths, paired
from model_server.evaluation.sync.voice_lessons import VoiceLessons, Voices
from model_server.networks.sync_network import FRAMES, OPENING_UNIT, SyncNetwork
from model_server.pipeline.faces.alignment import network_view
from model_server.training.prefetch import ahead

_LOG = logging.getLogger(__name__)

_SHIFT = 3  # pixels that mouths are moved by at most
_TURN, _SIZES, _SOFTNESS, _NOISE = 8.0, (0.9, 1.12), 1.2, 8.0  # degrees, scales, pixels, grey levels
_LOUDER, _TILT, _HISS = 0.03, 0.03, 0.04  # deviations and most, of mel values in [0, 1]
_SHORTEST = 3 * FRAMES
TRUE_SHARE = 0.95
_OPENING = 1.0  # weight of the errors of lip opening, in tenths of the distance between the eyes
_KEPT_OUT = 100  # clips of each corpus that thresholds, and figures, are taken from
# Mean difference in grey levels under which two runs show the same: they may stand for each other.
_ALIKE = 3.0


@dataclass(frozen=True)
class Settings:
    """How the judge is trained.

    Attributes:
        minutes: wall-clock time, over which the learning rate falls.
        steps: end after so many steps instead, for the same result on any machine.
        clips: clips per step.
        moments: windows of each clip in a step; in-clip windows are the hard negatives.
        rate: highest learning rate.
        max_clips: of each corpus, to bound memory (a clip of 75 frames takes 0.2 MB).
        seed: of everything random.
    """

    minutes: float = 6.0
    steps: int | None = None
    clips: int = 12
    moments: int = 12
    rate: float = 2e-3
    max_clips: int = 2000
    seed: int = 0


def read_example(clip: Clip) -> Example:
    """The judge's view of a corpus clip."""
    views = np.stack([network_view(decode_jpeg(jpeg)) for jpeg in clip.jpegs])
    return Example(mouths(views), windows(clip, range(len(clip.jpegs))), clip.opening)


def train_judge(folders: Sequence[Path], settings: Settings | None = None, voices: Voices | None = None) -> SyncJudge:
    """Train a judge on the train splits, and state how well it does on the clips kept for validation and testing.

    Args:
        folders: corpora of clips.
        settings: how.
        voices: others, from which its hearing learns besides.

    Raises:
        PoseDubError: a corpus cannot be read or is too small.
    """
    settings = settings or Settings()
    corpora = [Corpus.open(folder) for folder in folders]
    examples = [e for corpus in corpora for e in _examples(corpus, ("train",), settings.max_clips)]
    if len(examples) < 2:
        raise PoseDubError("The sync judge needs at least 2 clips of 15 frames to learn from; give a larger corpus.")
    torch.manual_seed(settings.seed)
    network = SyncNetwork()
    steps = _train(network, examples, settings, VoiceLessons(voices, settings.seed) if voices else None)
    judge = SyncJudge(network, {})
    validation = [e for corpus in corpora for e in _examples(corpus, ("val",), _KEPT_OUT)] or examples[:_KEPT_OUT]
    testing = {folder.name: _examples(c, ("test",), _KEPT_OUT) for folder, c in zip(folders, corpora, strict=True)}
    groups = {name: group for name, group in testing.items() if group}
    threshold = acceptance(embed(judge, example) for example in validation)
    judge.facts = {
        "clips": len(examples),
        "steps": steps,
        "minutes": settings.minutes,
        "accepts_from": asdict(threshold),
        "held_out": {name: accuracy(judge, group) for name, group in groups.items()},
        "accepted": {name: accepted_shares(judge, group, threshold) for name, group in groups.items()},
    }
    return judge


def acceptance(pairs: Iterable[Pair]) -> Acceptance:
    """The same low percentile of confidence and of movement, the highest one at which 95 % of true clips reach both."""
    figures = np.array([(confidence(pair), movement(pair)) for pair in pairs])
    figures = figures[np.isfinite(figures).all(axis=1)]
    lowest = Acceptance(float("nan"), float("nan"))  # of clips that are all too short to tell: takes none
    if not len(figures):
        return lowest
    for percentile in np.arange(0.0, 100 * (1 - TRUE_SHARE), 0.1):
        limits = np.percentile(figures, percentile, axis=0)
        if (figures >= limits).all(axis=1).mean() < TRUE_SHARE:
            break
        lowest = Acceptance(*map(float, limits))
    return lowest


def accepted_shares(judge: SyncJudge, examples: Sequence[Example], threshold: Acceptance) -> dict[str, float]:
    """Share of clips that are accepted: the true ones, and each kind of those whose lips do not quite follow."""
    shares = {"true": [accepted(embed(judge, example), threshold) for example in examples]}
    for number, example in enumerate(examples):
        others = [*examples[:number], *examples[number + 1 :]]
        for kind, make in KINDS.items():
            if made := make(example, np.random.default_rng(number), others):
                shares.setdefault(kind, []).append(accepted(embed(judge, made), threshold))
    return {kind: float(np.mean(found)) for kind, found in shares.items()}


def accuracy(judge: SyncJudge, examples: Sequence[Example]) -> dict[str, float]:
    """How well a judge does on true clips: offsets within a frame, frames retrieved within a frame, number of clips."""
    pairs = [embed(judge, example) for example in examples]
    found = float(np.mean([abs(found_offset(pair)) <= 1 for pair in pairs]))
    return {
        "found": found,
        "retrieved": float(np.mean([retrieved_share(p) for p in pairs])),
        "clips": float(len(pairs)),
    }


def embed(judge: SyncJudge, example: Example) -> Pair:
    """Embeddings of the frames of a clip that have two neighbours on both sides."""
    runs = Runs().push(example.mouths)
    return paired(judge.pictures(runs), judge.sound(example.windows[MARGIN : len(example.windows) - MARGIN]))


def _examples(corpus: Corpus, splits: Sequence[str], limit: int) -> list[Example]:
    names = [entry.name for entry in corpus.entries if entry.split in splits and entry.frames >= _SHORTEST]
    return [read_example(corpus.clip(name)) for name in names[:limit]]


def _train(
    network: SyncNetwork, examples: Sequence[Example], settings: Settings, lessons: VoiceLessons | None = None
) -> int:
    """Train until the time is up; the number of steps."""
    rng = np.random.default_rng(settings.seed)
    learning = [*network.parameters(), *(lessons.parameters() if lessons else ())]
    optimiser = torch.optim.AdamW(learning, lr=settings.rate, weight_decay=1e-2)
    begin, step = time.monotonic(), 0

    def spent() -> float:
        return step / settings.steps if settings.steps else (time.monotonic() - begin) / (60 * settings.minutes)

    steps = range(settings.steps) if settings.steps else itertools.count()
    for step, batch in ahead(lambda number: _batch(_chance(settings, number), examples, settings), steps):
        if (part := spent()) >= 1:
            return step
        for group in optimiser.param_groups:  # warm up, then fall along a cosine over the time given
            group["lr"] = settings.rate * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * float(np.cos(np.pi * part)))
        loss = _loss(network, batch)
        if lessons:
            loss = loss + lessons.loss(network, rng, settings.clips * settings.moments)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            _LOG.info("sync judge: step %d, loss %.3f", step, loss.item())
    return step + 1  # of a given number


def _chance(settings: Settings, step: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, step])


@dataclass(frozen=True)
class _Batch:
    """Moments of some clips.

    Attributes:
        pictures: (1 + k, b, 5, 48, 48) mouth runs in [0, 1]: the true ones, then k that do not quite follow the sound.
        opening: (1 + k, b) lip opening in the middle of each, NaN where unknown.
        told: (k, b) whether a false run looks different from the true one at all.
        sound: mel windows (b, 80, 20).
        late: (b, 80, 20) sound a few frames off.
    """

    pictures: Tensor
    opening: Tensor
    told: Tensor
    sound: Tensor
    late: Tensor


def _batch(rng: np.random.Generator, examples: Sequence[Example], settings: Settings) -> _Batch:
    chosen = rng.choice(len(examples), min(settings.clips, len(examples)), replace=False)
    parts = [_part(rng, examples[k], settings.moments) for k in chosen]
    pictures, opening, told, sound, late = zip(*parts, strict=True)
    return _Batch(
        torch.from_numpy(np.concatenate(pictures, 1)).float() / 255, torch.from_numpy(np.concatenate(opening, 1)),
        torch.from_numpy(np.concatenate(told, 1)), torch.from_numpy(np.concatenate(sound)),
        torch.from_numpy(np.concatenate(late)),
    )  # fmt: skip


def _part(rng: np.random.Generator, example: Example, moments: int) -> tuple[NDArray, ...]:
    """What some moments of one clip give to a batch, in the order of `_Batch`."""
    frames, lag = _moments(rng, example, moments)
    runs = example.mouths[frames]
    told = np.abs(runs[1:].astype(np.float32) - runs[0]).mean(axis=(2, 3, 4)) > _ALIKE
    pictures = np.stack([_varied(rng, kind) for kind in runs])
    opening, sound, late = _facts(example, frames, lag)
    microphone = rng.integers(2**32)  # one for both
    sound, late = (_heard(np.random.default_rng(microphone), part) for part in (sound, late))
    return pictures, opening, told, sound, late


def _moments(rng: np.random.Generator, example: Example, moments: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames (1 + k, m, 5) of some runs of a clip, as they are, frozen, shifted and damped, and sounds' shifts (m,)."""
    last = len(example.mouths) - 1
    starts = rng.choice(last + 1 - 2 * MARGIN, min(moments, last + 1 - 2 * MARGIN), replace=False)
    frames = starts[:, None] + np.arange(FRAMES)
    still = np.repeat(frames[:, MARGIN : MARGIN + 1], FRAMES, axis=1)
    moved = np.clip(frames + rng.choice(SHIFTS, (len(starts), 1)), 0, last)
    less = still if example.opening is None else damped_frames(example.opening, rng.uniform(*DAMPED_TO))[frames]
    return np.stack([frames, still, moved, less]), rng.choice(SHIFTS, len(starts))


def _facts(
    example: Example, frames: NDArray[np.int64], lag: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Lip opening (1 + k, m) in the middle of runs, their sound (m, 80, 20), and the one that is off."""
    middle, last = frames[..., MARGIN], len(example.windows) - 1
    unknown = np.full(len(example.mouths), np.nan, np.float32)
    opening = unknown if example.opening is None else example.opening.astype(np.float32)
    return opening[middle], example.windows[middle[0]], example.windows[np.clip(middle[0] + lag, 0, last)]


def _varied(rng: np.random.Generator, runs: Mouths) -> Mouths:
    """One clip's mouths (m, 5, 48, 48), every picture moved a little by itself, and all mirrored half of the time,
    turned, sized, blurred and made noisy.

    The alignment centres the mouth, so the whole face bobs as the lips part: without these moves the judge would learn
    the bobbing, and find even a frozen mouth in sync.
    """
    side = runs.shape[-1]
    seen = _turned(rng, runs.reshape(-1, side, side)).reshape(runs.shape)
    padded = np.pad(seen, ((0, 0), (0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT)), mode="edge")
    places = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))  # type: ignore[call-overload]
    y, x = rng.integers(0, 2 * _SHIFT + 1, (2, *runs.shape[:2]))
    moved = places[np.arange(runs.shape[0])[:, None], np.arange(runs.shape[1]), y, x]
    noisy = moved + np.float32(rng.uniform(0, _NOISE)) * rng.standard_normal(moved.shape, np.float32)
    return np.ascontiguousarray(noisy[..., ::-1] if rng.random() < 0.5 else noisy).clip(0, 255).astype(np.uint8)


def _turned(rng: np.random.Generator, pictures: Mouths) -> Mouths:
    """Pictures (n, 48, 48) turned and sized alike, and sometimes softened."""
    middle = (pictures.shape[-1] - 1) / 2
    change = cv2.getRotationMatrix2D((middle, middle), rng.uniform(-_TURN, _TURN), rng.uniform(*_SIZES))
    size = pictures.shape[1:]
    turned = [cv2.warpAffine(picture, change, size, borderMode=cv2.BORDER_REPLICATE) for picture in pictures]
    softness = rng.uniform(0, _SOFTNESS)
    soft = [cv2.GaussianBlur(picture, (5, 5), softness) for picture in turned] if softness > 0.3 else turned
    return np.stack(soft)


def _heard(rng: np.random.Generator, sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows (n, 80, 20) of one clip through another microphone: louder or softer, tilted, with noise."""
    tilt = np.linspace(-1, 1, sound.shape[1], dtype=np.float32)[:, None] * rng.normal(0, _TILT)
    noise = rng.standard_normal(sound.shape, np.float32) * rng.uniform(0, _HISS)
    return (sound + rng.normal(0, _LOUDER) + tilt + noise).clip(0, 1).astype(np.float32)


def _loss(network: SyncNetwork, batch: _Batch) -> Tensor:
    """Two-way InfoNCE over all pairs of the step, each moment's own false lips and shifted sound among the others, and
    the errors of the opening that is seen and of the one that is heard."""
    scale = network.log_scale.exp().clamp(max=100)
    vectors, seen = (part.unflatten(0, batch.opening.shape) for part in network.seen(batch.pictures.flatten(0, 1)))
    (sound, heard), pictures = network.heard(batch.sound), vectors[0]
    logits = scale * pictures @ sound.T
    nearly = scale * (vectors[1:] * sound).sum(-1)
    nearly = nearly.masked_fill(~batch.told, -1e4)
    late = scale * (pictures * network.sound(batch.late)).sum(-1, keepdim=True)
    late = late.masked_fill(~batch.told[1:2].T, -1e4)
    own = torch.arange(len(logits))
    by_sound = F.cross_entropy(torch.cat([logits.T, nearly.T], 1), own)
    apart = (F.cross_entropy(torch.cat([logits, late], 1), own) + by_sound) / 2
    return apart + _OPENING * (_error(seen, batch.opening) + _error(heard, batch.opening[0]))


def _error(opening: Tensor, true: Tensor) -> Tensor:
    """Mean squared error in tenths of the distance between the eyes, over what is known."""
    known = torch.isfinite(true)
    return (((opening - true) / OPENING_UNIT)[known] ** 2).sum() / known.sum().clamp(min=1)
