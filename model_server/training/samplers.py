"""What a stage sees in one step. All chance comes from the generator given, so a step can be made again."""

from __future__ import annotations

import numpy as np
import torch

from model_server.errors import PoseDubError
from model_server.training.data import ClipStore, ClipTensors, Frames, Pairs, joined

FRAMES_PER_CLIP = 4
MIRROR_SHARE = 0.5


def sample_frames(store: ClipStore, count: int, rng: np.random.Generator) -> Frames:
    """Frames of random clips, a few from each, half of them mirrored."""
    parts, left = [], count
    while left:
        clip = _any_clip(store, rng)
        taken = min(FRAMES_PER_CLIP, left)
        parts.append(clip.frames(rng.integers(0, len(clip), taken).tolist()))
        left -= taken
    return joined(parts).mirrored(_coins(store, count, rng))


def sample_chunks(store: ClipStore, count: int, length: int, rng: np.random.Generator) -> Frames:
    """`length` frames in a row of each of `count` clips, all different where there are enough."""
    long_enough = [n for n, (corpus, name) in enumerate(store.clips) if corpus.entry(name).frames >= length]
    if not long_enough:
        raise PoseDubError(f"No training clip has the {length} frames that the speech stage needs; use longer clips.")
    chosen = rng.choice(long_enough, count, replace=count > len(long_enough))
    starts = [int(rng.integers(0, len(store[int(n)]) - length + 1)) for n in chosen]
    parts = [store[int(n)].frames(range(start, start + length)) for n, start in zip(chosen, starts, strict=True)]
    return joined(parts).mirrored(_coins(store, count, rng).repeat_interleave(length))


def sample_pairs(store: ClipStore, count: int, rng: np.random.Generator) -> Pairs:
    """A portrait and a target frame of each of `count` random clips, with correspondences where they are known."""
    clips = [_any_clip(store, rng) for _ in range(count)]
    places = [_pair(clip, rng) for clip in clips]
    drawn = [(clip, *pair) for clip, pair in zip(clips, places, strict=True)]
    portraits = joined([clip.frames([source]) for clip, source, _ in drawn])
    targets = joined([clip.frames([target]) for clip, _, target in drawn])
    flow = torch.stack([clip.flow(target, source) for clip, source, target in drawn])
    return Pairs(portraits, targets, flow).mirrored(_coins(store, count, rng))


def _pair(clip: ClipTensors, rng: np.random.Generator) -> tuple[int, int]:
    """A source frame, with known correspondences if there are any, and a target frame."""
    sources = clip.sources()
    source = rng.choice(sources) if len(sources) else rng.integers(0, len(clip))
    return int(source), int(rng.integers(0, len(clip)))


def _any_clip(store: ClipStore, rng: np.random.Generator) -> ClipTensors:
    return store[int(rng.integers(0, len(store)))]


def _coins(store: ClipStore, count: int, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.random(count) < MIRROR_SHARE).to(store.device)
