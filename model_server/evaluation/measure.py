"""Runs a film past all instruments once, batch by batch, and keeps only numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.mesh import MeshReader
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.evaluation.clips import EvalClip
from model_server.evaluation.comparison import Face
from model_server.evaluation.head_pose import head_angles
from model_server.evaluation.metrics.cpbd import cpbd
from model_server.evaluation.metrics.psnr import psnr
from model_server.evaluation.metrics.ssim import ssim
from model_server.evaluation.sync.judge import Runs, SyncJudge, mouths
from model_server.evaluation.sync.syncnet import SyncNet, embed_pictures
from model_server.evaluation.views import Film, Pictures, batches

IDENTITY_STEP = 5  # every fifth frame is recognised

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Instruments:
    """What measures; all of it the same for every method.

    Attributes:
        reader: independent landmark detector.
        recogniser: whose identity encoder recognises people.
        judge: own sync judge, if there is one.
        syncnet: the official one, if the user has it.
    """

    reader: MeshReader
    recogniser: PcavsEngine
    judge: SyncJudge | None = None
    syncnet: SyncNet | None = None

    def identity_vectors(self, views: Pictures) -> Vectors:
        """Identity vector (n, d) of each view."""
        vectors = [self.recogniser.identity(views[k : k + 1]).vector for k in range(len(views))]
        return np.concatenate([vector.cpu().numpy() for vector in vectors])


@dataclass(frozen=True)
class Measured:
    """Numbers of one film, see `Comparison`."""

    face: Face
    pictures: dict[str, Vectors]
    identity: Vectors
    sync: Vectors | None
    syncnet: Vectors | None


@dataclass
class _Faces:
    reader: MeshReader
    landmarks: list[Vectors] = field(default_factory=list)

    def add(self, views: Pictures) -> None:
        for view in views:
            found = self.reader.read(view)
            self.landmarks.append(np.full((68, 2), np.nan, np.float32) if found is None else found.landmarks)

    def face(self) -> Face:
        return Face(np.stack(self.landmarks), np.stack([head_angles(points) for points in self.landmarks]))


@dataclass
class _Embeddings:
    """Embeddings of all runs of five frames."""

    embed: Callable[[NDArray[np.uint8]], Vectors]
    prepare: Callable[[Pictures], NDArray[np.uint8]] = lambda views: views
    runs: Runs = field(default_factory=Runs)
    vectors: list[Vectors] = field(default_factory=list)

    def add(self, views: Pictures) -> None:
        runs = self.runs.push(self.prepare(views))
        if len(runs):
            self.vectors.append(self.embed(runs))

    def result(self) -> Vectors | None:
        return np.concatenate(self.vectors) if self.vectors else None


def measure(made: Iterable[Pictures], true: Film, instruments: Instruments) -> Measured:
    """Measure a film against the true one of the same length.

    Args:
        made: batches of network views.
        true: the true frames.
        instruments: what measures.
    """
    faces, judged, official = _Faces(instruments.reader), _judge(instruments), _official(instruments)
    figures: dict[str, list[float]] = {"ssim": [], "psnr": [], "cpbd": []}
    identity: list[Vectors] = []
    first = 0
    for views in made:
        end = first + len(views)
        for view, truth in zip(views, true.views(first, end), strict=True):
            for key, value in (("ssim", ssim(view, truth)), ("psnr", psnr(view, truth)), ("cpbd", cpbd(view))):
                figures[key].append(value)
        identity += [
            instruments.identity_vectors(view[None]) for view in views[-first % IDENTITY_STEP :: IDENTITY_STEP]
        ]
        for collector in (faces, judged, official):
            if collector:
                collector.add(views)
        first = end
    numbers = {key: np.array(values, np.float32) for key, values in figures.items()}
    sync, syncnet = (collector.result() if collector else None for collector in (judged, official))
    return Measured(faces.face(), numbers, np.concatenate(identity), sync, syncnet)


def _judge(instruments: Instruments) -> _Embeddings | None:
    return _Embeddings(instruments.judge.pictures, mouths) if instruments.judge else None


def _official(instruments: Instruments) -> _Embeddings | None:
    network = instruments.syncnet
    return _Embeddings(lambda runs: embed_pictures(network, runs)) if network else None


def seen_by(judge: SyncJudge, film: Iterable[Pictures]) -> Vectors:
    """What a judge sees in all frames of a film but two at either end (n, 129); see `SyncJudge.pictures`."""
    collector = _Embeddings(judge.pictures, mouths)
    for views in film:
        collector.add(views)
    found = collector.result()
    return np.zeros((0, 1), np.float32) if found is None else found


def heard_by(judge: SyncJudge, clip: EvalClip, moments: Sequence[int]) -> Vectors:
    """What a judge hears at some frames (n, 129); see `SyncJudge.sound`."""
    parts = [judge.sound(clip.windows(moments[first:end])) for first, end in batches(len(moments))]
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def faces_of(film: Film | Iterable[Pictures], reader: MeshReader) -> Face:
    """Faces of a film, or of batches of views."""
    faces = _Faces(reader)
    for views in film if isinstance(film, Iterable) else (film.views(*span) for span in batches(film.count)):
        faces.add(views)
    return faces.face()
