"""Trains the sync judge on corpora of true clips: minutes on a CPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model_server.corpus.pictures import decode_jpeg
from model_server.corpus.shards import Clip, Corpus, windows
from model_server.errors import PoseDubError
from model_server.evaluation.comparison import Pair
from model_server.evaluation.metrics.sync import accepted, confidence, found_offset, retrieved_share
from model_server.evaluation.sync.hard_negatives import DAMPED_TO, KINDS, SHIFTS, Example, damped_frames
from model_server.evaluation.sync.judge import MARGIN, Mouths, Runs, SyncJudge, mouths
from model_server.networks.sync_network import FRAMES, SyncNetwork
from model_server.pipeline.faces.alignment import network_view

_LOG = logging.getLogger(__name__)

_SHIFT = 3  # pixels that mouths are moved by at most
_SHORTEST = 3 * FRAMES
TRUE_SHARE = 0.95
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


def train_judge(folders: Sequence[Path], settings: Settings | None = None) -> SyncJudge:
    """Train a judge on the train splits, and state how well it does on the clips kept for validation and testing.

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
    steps = _train(network, examples, settings)
    judge = SyncJudge(network, {})
    held_out = {folder.name: _examples(c, ("val", "test"), 60) for folder, c in zip(folders, corpora, strict=True)}
    groups = {name: group for name, group in held_out.items() if group}
    every = [example for group in groups.values() for example in group] or examples[:60]
    threshold = acceptance_threshold(judge, every)
    judge.facts = {
        "clips": len(examples),
        "steps": steps,
        "minutes": settings.minutes,
        "threshold": threshold,
        "held_out": {name: accuracy(judge, group) for name, group in groups.items()},
        "accepted": {name: accepted_shares(judge, group, threshold) for name, group in groups.items()},
    }
    return judge


def acceptance_threshold(judge: SyncJudge, examples: Sequence[Example]) -> float:
    """Confidence that 95 % of true clips reach."""
    found = [confidence(embed(judge, example)) for example in examples]
    return float(np.nanpercentile(found, 100 * (1 - TRUE_SHARE)))


def accepted_shares(judge: SyncJudge, examples: Sequence[Example], threshold: float) -> dict[str, float]:
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
    return Pair(judge.pictures(runs), judge.sound(example.windows[MARGIN : len(example.windows) - MARGIN]))


def _examples(corpus: Corpus, splits: Sequence[str], limit: int) -> list[Example]:
    names = [entry.name for entry in corpus.entries if entry.split in splits and entry.frames >= _SHORTEST]
    return [read_example(corpus.clip(name)) for name in names[:limit]]


def _train(network: SyncNetwork, examples: Sequence[Example], settings: Settings) -> int:
    """Train until the time is up; the number of steps."""
    rng = np.random.default_rng(settings.seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=1e-2)
    begin, step = time.monotonic(), 0

    def spent() -> float:
        return step / settings.steps if settings.steps else (time.monotonic() - begin) / (60 * settings.minutes)

    while (part := spent()) < 1:
        for group in optimiser.param_groups:  # warm up, then fall along a cosine over the time given
            group["lr"] = settings.rate * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * float(np.cos(np.pi * part)))
        loss = _loss(network, _batch(rng, examples, settings))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            _LOG.info("sync judge: step %d, loss %.3f", step, loss.item())
        step += 1
    return step


@dataclass(frozen=True)
class _Batch:
    """Moments of some clips.

    Attributes:
        pictures: mouth runs (b, 5, 48, 48) in [0, 1].
        sound: mel windows (b, 80, 20).
        false: (k, b, 5, 48, 48) runs of the same moments that do not quite follow the sound.
        told: (k, b) whether a false run looks different from the true one at all.
        late: (b, 80, 20) sound a few frames off.
    """

    pictures: Tensor
    sound: Tensor
    false: Tensor
    told: Tensor
    late: Tensor


def _batch(rng: np.random.Generator, examples: Sequence[Example], settings: Settings) -> _Batch:
    chosen = rng.choice(len(examples), min(settings.clips, len(examples)), replace=False)
    parts = [_moments(rng, examples[k], settings.moments) for k in chosen]
    runs, sound, false, late = (
        np.concatenate([part[k] for part in parts], axis=-4 if k in (0, 2) else 0) for k in range(4)
    )
    told = np.abs(false.astype(np.float32) - runs).mean(axis=(2, 3, 4)) > _ALIKE
    changes = rng.integers(2**32, size=1 + len(false))
    seen = [_varied(np.random.default_rng(change), part) for change, part in zip(changes, (runs, *false), strict=True)]
    pictures = torch.from_numpy(np.stack(seen)).float() / 255
    return _Batch(pictures[0], torch.tensor(sound), pictures[1:], torch.from_numpy(told), torch.tensor(late))


def _moments(
    rng: np.random.Generator, example: Example, moments: int
) -> tuple[Mouths, NDArray[np.float32], Mouths, NDArray[np.float32]]:
    """Runs (m, 5, 48, 48) and windows (m, 80, 20) of a clip, its false runs (k, m, 5, 48, 48), and shifted windows."""
    count = len(example.mouths) - 2 * MARGIN
    starts = rng.choice(count, min(moments, count), replace=False)
    frames = starts[:, None] + np.arange(FRAMES)
    still = np.repeat(frames[:, MARGIN : MARGIN + 1], FRAMES, axis=1)
    moved = np.clip(frames + rng.choice(SHIFTS, (len(starts), 1)), 0, len(example.mouths) - 1)
    false = [example.mouths[still], example.mouths[moved]]
    less = still if example.opening is None else damped_frames(example.opening, rng.uniform(*DAMPED_TO))[frames]
    false.append(example.mouths[less])
    late = np.clip(starts + MARGIN + rng.choice(SHIFTS, len(starts)), 0, len(example.windows) - 1)
    return example.mouths[frames], example.windows[starts + MARGIN], np.stack(false), example.windows[late]


def _varied(rng: np.random.Generator, runs: Mouths) -> Mouths:
    """One clip's mouths (m, 5, 48, 48), every picture moved a little by itself, and all mirrored half of the time.

    The alignment centres the mouth, so the whole face bobs as the lips part: without these moves the judge would learn
    the bobbing, and find even a frozen mouth in sync.
    """
    padded = np.pad(runs, ((0, 0), (0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT)), mode="edge")
    side = runs.shape[-1]
    places = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))  # type: ignore[call-overload]
    y, x = rng.integers(0, 2 * _SHIFT + 1, (2, *runs.shape[:2]))
    moved = places[np.arange(runs.shape[0])[:, None], np.arange(runs.shape[1]), y, x]
    return np.ascontiguousarray(moved[..., ::-1] if rng.random() < 0.5 else moved)


def _loss(network: SyncNetwork, batch: _Batch) -> Tensor:
    """Two-way InfoNCE over all pairs of the step, each moment's own false lips and shifted sound among the others."""
    scale = network.log_scale.exp().clamp(max=100)
    pictures, sound = network.pictures(batch.pictures), network.sound(batch.sound)
    false = network.pictures(batch.false.flatten(0, 1)).unflatten(0, batch.false.shape[:2])
    logits = scale * pictures @ sound.T
    nearly = scale * (false * sound).sum(-1)
    nearly = nearly.masked_fill(~batch.told, -1e4)
    late = scale * (pictures * network.sound(batch.late)).sum(-1, keepdim=True)
    late = late.masked_fill(~batch.told[1:2].T, -1e4)
    own = torch.arange(len(logits))
    by_sound = F.cross_entropy(torch.cat([logits.T, nearly.T], 1), own)
    return (F.cross_entropy(torch.cat([logits, late], 1), own) + by_sound) / 2
