"""What a stage sees in one step. All chance comes from the generator given, so a step can be made again."""

from __future__ import annotations

import numpy as np
import torch

from model_server.corpus.shards import PORTRAIT
from model_server.errors import PoseDubError
from model_server.training.pcavs.data import ClipStore, ClipTensors, Frames, Pairs, joined

FRAMES_PER_CLIP = 4
MIRROR_SHARE = 0.5
# Of the portraits: drawn as if no relief of them was known, which may be so of a painting.
FLAT_SHARE = 0.1
# Blinks are short: of so many portraits with one in their clip, one target shows it.
BLINK_SHARE, CLOSING = 0.5, 0.3


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
    """`length` frames in a row of each of `count` clips, all different where there are enough; not of photographs."""
    entries = enumerate(corpus.entry(name) for corpus, name in store.clips)
    long_enough = [n for n, entry in entries if entry.frames >= length and entry.source != PORTRAIT]
    if not long_enough:
        raise PoseDubError(f"No training clip has the {length} frames that the speech stage needs; use longer clips.")
    chosen = rng.choice(long_enough, count, replace=count > len(long_enough))
    places = [range(start, start + length) for start in (_start(store[int(n)], length, rng) for n in chosen)]
    if store.banked:
        return joined([store[int(n)].read(place) for n, place in zip(chosen, places, strict=True)])
    parts = [store[int(n)].frames(place) for n, place in zip(chosen, places, strict=True)]
    return joined(parts).mirrored(_coins(store, count, rng).repeat_interleave(length))


def sample_pairs(store: ClipStore, count: int, each: int, rng: np.random.Generator) -> Pairs:
    """`count` targets, `each` of a random clip, and a portrait of each clip, with correspondences where known."""
    clips = [_any_clip(store, rng) for _ in range(count // each)]
    drawn = [(clip, *_pair(clip, each, rng)) for clip in clips]
    portraits = joined([clip.frames([source]) for clip, source, _ in drawn])
    targets = joined([clip.frames(chosen) for clip, _, chosen in drawn])
    shown = [(clip, target, source) for clip, source, chosen in drawn for target in chosen]
    flow = torch.stack([clip.flow(target, source) for clip, target, source in shown])
    visible = torch.stack([clip.visible(target, source) for clip, target, source in shown])
    turned = torch.stack([clip.turned(target, source) for clip, target, source in shown])
    turned[_unknown(store, len(portraits), rng).repeat_interleave(each)] = torch.nan
    pairs = Pairs(portraits, targets, flow, visible, turned)
    return pairs if store.banked else pairs.mirrored(_coins(store, len(portraits), rng))


def _start(clip: ClipTensors, length: int, rng: np.random.Generator) -> int:
    return int(rng.integers(0, len(clip) - length + 1))


def _pair(clip: ClipTensors, each: int, rng: np.random.Generator) -> tuple[int, list[int]]:
    """A source frame, with known correspondences if there are any, and target frames, one of them with closed eyes."""
    sources = clip.sources()
    source = rng.choice(sources) if len(sources) else rng.integers(0, len(clip))
    targets = rng.integers(0, len(clip), each).tolist()
    blinks = torch.nonzero(clip.labels.lids > CLOSING)[:, 0].tolist()
    if blinks and rng.random() < BLINK_SHARE:
        targets[0] = int(rng.choice(blinks))
    return int(source), targets


def _any_clip(store: ClipStore, rng: np.random.Generator) -> ClipTensors:
    return store[int(rng.integers(0, len(store)))]


def _unknown(store: ClipStore, count: int, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.random(count) < FLAT_SHARE).to(store.device)


def _coins(store: ClipStore, count: int, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.random(count) < MIRROR_SHARE).to(store.device)
