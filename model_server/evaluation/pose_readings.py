"""Which reading of pose sources has drawn heads follow real ones best: a property of weights, found by measurement.

Each clip's first frame is the portrait, which speaks the clip's own sound and is driven by the clip itself; the drawn
heads are measured by the independent detector (`head_pose`), whose angles the readings do not use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from model_server import scratch
from model_server.corpus.mesh import MeshReader
from model_server.engines.base import POSE_READINGS, PoseReading
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.errors import PoseDubError
from model_server.evaluation.clips import EvalClip, EvalSource
from model_server.evaluation.generate import Generator
from model_server.evaluation.measure import faces_of
from model_server.evaluation.metrics.head import AXES, LIMIT
from model_server.evaluation.metrics.lips import correlation
from model_server.evaluation.metrics.registry import mean

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Following:
    """How drawn heads follow their sources, over all frames whose source is within 30 degrees on every axis.

    Attributes:
        made, wanted: (n, 3) yaw, pitch, roll in degrees, each clip's own mean taken away.
        error: (3,) mean absolute difference of the angles as they are.
    """

    made: Floats
    wanted: Floats
    error: Floats

    @property
    def r(self) -> Floats:
        """Pearson correlations (3,)."""
        return np.array([correlation(self.made[:, axis], self.wanted[:, axis]) for axis in range(3)], np.float32)

    @property
    def movement(self) -> Floats:
        """Standard deviations (3,), for the sources' own."""
        return np.asarray(np.nanstd(self.made, axis=0) / np.nanstd(self.wanted, axis=0), np.float32)


def compare(
    sources: Sequence[EvalSource], engine: PcavsEngine, progress: Callable[[], None] = lambda: None
) -> dict[PoseReading, Following]:
    """Drive clips with each reading.

    Raises:
        PoseDubError: the weights have no pose map, or a clip cannot be used.
    """
    if engine.weights.pose_map is None:
        raise PoseDubError(f"The weights {engine.weights.name} have no pose map; export them with a labelled corpus.")
    reader = MeshReader()
    parts: dict[PoseReading, list[tuple[Floats, Floats]]] = {reading: [] for reading in POSE_READINGS}
    for source in sources:
        with scratch.folder() as folder:
            clip = source.open(folder)
            wanted = faces_of(clip, reader).angles
            for reading in POSE_READINGS:
                parts[reading].append(_near(_driven(clip, Generator(engine, reading=reading), reader), wanted))
        progress()
    return {reading: _following(pairs) for reading, pairs in parts.items()}


def best(found: Mapping[PoseReading, Following]) -> PoseReading:
    """The reading with the highest mean correlation of the three axes."""
    return max(found, key=lambda reading: float(np.nan_to_num(found[reading].r, nan=-1).mean()))


def as_table(found: Mapping[PoseReading, Following]) -> str:
    """Markdown: a row for each reading."""
    head = [f"{axis} {what}" for axis in AXES for what in ("r", "movement", "error")]
    lines = [_row("reading", *head), "|" + "---|" * (len(head) + 1)]
    for reading, one in found.items():
        figures = [
            (f"{r:.3f}", f"{moved:.2f}", f"{off:.1f}°")
            for r, moved, off in zip(one.r, one.movement, one.error, strict=True)
        ]
        lines.append(_row(reading, *chain(*figures)))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _driven(clip: EvalClip, generator: Generator, reader: MeshReader) -> Floats:
    return faces_of(generator.film(clip, generator.pose_codes(clip), lids=clip.lids), reader).angles


def _near(made: Floats, wanted: Floats) -> tuple[Floats, Floats]:
    """Both where the source is within the limit, and both are known."""
    inside = (np.abs(wanted) <= LIMIT).all(axis=1) & np.isfinite(made).all(axis=1)
    return made[inside], wanted[inside]


def _following(pairs: Sequence[tuple[Floats, Floats]]) -> Following:
    made, wanted = (
        np.concatenate([angles - angles.mean(axis=0) for angles in side]) for side in zip(*pairs, strict=True)
    )
    off = np.concatenate([np.abs(one - other) for one, other in pairs])
    return Following(made, wanted, np.array([mean(off[:, axis]) for axis in range(3)], np.float32))
