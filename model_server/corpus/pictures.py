"""Crops as JPEG files, and contact sheets of a corpus."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model_server.corpus.shards import CELL, CROP_SIDE, GRID, Clip, Corpus

QUALITY, FINE_QUALITY = 95, 97
Picture = NDArray[np.uint8]


class Pictured(Protocol):
    """A clip that can be looked at."""

    @property
    def jpegs(self) -> tuple[bytes, ...]: ...
    @property
    def landmarks(self) -> NDArray[np.float32] | None: ...


def encode_jpeg(picture: Picture, fine: bool = False) -> bytes:
    """A crop (h, w, 3) as a JPEG file of quality 95; fine ones of quality 97 keep the colours of all pixels."""
    file = io.BytesIO()
    quality = FINE_QUALITY if fine else QUALITY
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=0 if fine else -1)
    return file.getvalue()


def decode_jpeg(data: bytes) -> Picture:
    """The crop (h, w, 3) of a JPEG file."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def contact_sheet(
    corpus: Corpus,
    rows: int = 16,
    columns: int = 8,
    side: int = 112,
    marks: bool = False,
    read: Callable[[Corpus, str], Pictured] = Corpus.clip,
) -> Image.Image:
    """A picture of clips spread over the corpus, one per row, with frames spread over the clip.

    Args:
        corpus: where the clips come from; at least one.
        rows: clips shown, at most.
        columns: frames shown of each.
        side: pixels of a frame.
        marks: whether landmarks are drawn.
        read: reads a clip.
    """
    names = corpus.names()
    chosen = [names[k] for k in np.unique(np.linspace(0, len(names) - 1, rows).astype(int))]
    sheet = Image.new("RGB", (columns * side, len(chosen) * side))
    for row, name in enumerate(chosen):
        clip = read(corpus, name)
        for column, frame in enumerate(np.linspace(0, len(clip.jpegs) - 1, columns).astype(int)):
            sheet.paste(_thumbnail(clip, int(frame), side, marks), (column * side, row * side))
    return sheet


def _thumbnail(clip: Pictured, frame: int, side: int, marks: bool) -> Image.Image:
    whole = Image.fromarray(decode_jpeg(clip.jpegs[frame]))
    picture = whole.resize((side, side), Image.Resampling.LANCZOS)
    if marks and clip.landmarks is not None:
        draw = ImageDraw.Draw(picture)
        for x, y in clip.landmarks[frame] * side / whole.width:
            draw.rectangle((x - 1, y - 1, x, y), fill=(0, 255, 0))
    return picture


def flow_sheet(clip: Clip, frames: Sequence[int], source: int = 0) -> Image.Image:
    """Rows of flow source, that source warped by the stored flow, and the true frame; unseen points are dark.

    Raises:
        ValueError: the clip has no flow.
    """
    if clip.flow is None or clip.visible is None or clip.flow_sources is None:
        raise ValueError(f"clip {clip.name} has no flow")
    portrait = decode_jpeg(clip.jpegs[clip.flow_sources[source]])
    rows = []
    for frame in frames:
        seen = _enlarged(clip.visible[frame, source][..., None].astype(np.float32))
        moved = _sampled(portrait, _enlarged(clip.flow[frame, source].astype(np.float32))) * (0.3 + 0.7 * seen)
        rows.append(np.concatenate([portrait, moved.astype(np.uint8), decode_jpeg(clip.jpegs[frame])], axis=1))
    return Image.fromarray(np.concatenate(rows))


def _enlarged(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (56, 56, c) at cell centres as (224, 224, c) at pixel centres, bilinear."""
    place = np.clip((np.arange(CROP_SIDE) + 0.5) / CELL - 0.5, 0, GRID - 1.001)
    low, part = place.astype(int), (place % 1).astype(np.float32)
    rows = values[low] * (1 - part)[:, None, None] + values[low + 1] * part[:, None, None]
    return rows[:, low] * (1 - part)[None, :, None] + rows[:, low + 1] * part[None, :, None]


def _sampled(picture: Picture, places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear samples (h, w, 3) of a picture at places (h, w, 2) in pixels; the rim goes on outside."""
    place = np.clip(places - 0.5, 0, CROP_SIDE - 1.001)
    low, part = place.astype(int), (place % 1)[..., None]
    x, y = low[..., 0], low[..., 1]
    across, down = part[:, :, 0], part[:, :, 1]
    top = picture[y, x] * (1 - across) + picture[y, x + 1] * across
    bottom = picture[y + 1, x] * (1 - across) + picture[y + 1, x + 1] * across
    return np.asarray(top * (1 - down) + bottom * down, np.float32)
