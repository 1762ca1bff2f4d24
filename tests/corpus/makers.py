"""A tiny corpus of drawings whose labels agree with the pictures, for whatever needs one to work on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from model_server.corpus.shards import (
    CELL,
    GRID,
    Clip,
    Entry,
    Index,
    mel_rows_needed,
    read_content,
    write_index,
    write_shard,
)
from tests.conftest import drawn_head


def jpeg(picture: np.ndarray) -> bytes:
    """JPEG bytes of an RGB picture."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95)
    return file.getvalue()


def tiny_clip(name: str, identity: str, seed: int, frames: int = 12) -> Clip:
    """A drawn head that turns smoothly, a mel that swells with its (invented) opening, and flow for two sources."""
    rng = np.random.default_rng(seed)
    turn = np.sin(np.arange(frames) / 4 + rng.uniform(0, 6))
    tint = rng.uniform(0.5, 1.0, 3)
    pictures = [np.uint8(drawn_head(t) * tint) for t in turn]
    opening = (0.15 + 0.15 * np.sin(np.arange(frames) * 1.1 + rng.uniform(0, 6))).astype(np.float32)
    loudness = np.interp(np.arange(mel_rows_needed(frames)) / 4, np.arange(frames), opening * 2)
    points = rng.uniform(60, 160, (1, 68, 2)).repeat(frames, 0)
    points[:, :, 0] += 12 * turn[:, None]
    visemes = np.zeros((frames, 17))
    visemes[np.arange(frames), np.uint8(opening * 50) % 17] = 1
    sources = np.array([0, frames // 2], np.int16)
    centres = (np.arange(GRID) + 0.5) * CELL
    here = np.stack(np.meshgrid(centres, centres), -1)
    flow = here + np.stack([12 * (turn[sources][None] - turn[:, None]), np.zeros((frames, 2))], -1)[:, :, None, None]
    return Clip(
        name, identity, "synthetic", tuple(jpeg(picture) for picture in pictures),
        (loudness[:, None] * rng.uniform(0.8, 1.0, (1, 80))).astype(np.float16),
        np.stack([20 * turn, 5 * turn, -3 * turn], 1).astype(np.float32), points.astype(np.float32),
        visemes.astype(np.float16), opening, sources, flow.astype(np.float16), np.abs(flow[..., 0] - 112) < 100,
        lids=np.zeros(frames, np.float32),
    )  # fmt: skip


def tiny_corpus(folder: Path, identities: int = 6, clips: int = 2, frames: int = 12) -> Path:
    """A corpus of drawings with one shard per identity; identities go to train, train, val, test, train, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    for person in range(identities):
        shard = folder / f"shard-{person:05}.safetensors"
        names = [f"person{person:02}-{number}" for number in range(clips)]
        made = [tiny_clip(n, f"person{person:02}", 100 * person + i, frames) for i, n in enumerate(names)]
        write_shard(shard, made)
        split = ("train", "train", "val", "test")[person % 4]
        entries += [Entry(**{**vars(entry), "split": split}) for entry in read_content(shard).clips]
    write_index(folder, Index(tuple(entries), (), {"generator": "drawings"}))
    return folder
