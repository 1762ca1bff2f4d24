"""Figures of dubs in place tell a copy of the old mouth, a soft one and a drawn one apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from model_server.engines.base import Condition, FrameSource, Performance
from model_server.engines.pcavs.conditioning import WindowConditioning
from model_server.engines.pcavs.engine import PcavsEngine, as_pcavs
from model_server.engines.pcavs.weights import untrained
from model_server.engines.weights import load_engine
from model_server.errors import PoseDubError
from model_server.evaluation.clips import samples_at
from model_server.evaluation.in_place import CoveredClip, DubbedClip, as_table, evaluate_in_place
from model_server.evaluation.sync.judge import load_judge
from model_server.evaluation.views import Pictures
from model_server.pipeline.faces.alignment import clip_transforms, network_view, warp
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.media.video import open_footage
from tests.conftest import speechlike
from tests.pipeline.conftest import INPUTS

COUNT = 24


@dataclass
class Film:
    """Implements `EvalClip` and `EvalSource`: frames of the demo's speaking head, with made-up sound."""

    name: str
    shown: Pictures
    identity = "somebody"
    angles = None
    lids = None

    @property
    def count(self) -> int:
        return len(self.shown)

    def views(self, first: int, end: int) -> Pictures:
        return self.shown[first:end]

    def windows(self, indices: Sequence[int]) -> np.ndarray:
        return np.stack([np.random.default_rng(k).random((80, 20), np.float32) for k in indices])

    def samples(self, first: int, end: int) -> np.ndarray:
        return samples_at(speechlike(self.count / 25), first, end)

    def portrait(self) -> Pictures:
        return self.shown[0]

    def open(self, folder: Path) -> Film:
        return self


@pytest.fixture(scope="module")
def films() -> list[Film]:
    footage = open_footage(INPUTS / "pose.mp4")
    pictures = [picture for _, picture in footage.iter_frames(range(2 * COUNT))]
    face = FaceFinder().find(pictures[0])[0]
    matrix = clip_transforms(face.points[None])[0]
    views = np.stack([network_view(warp(picture, matrix)) for picture in pictures])
    return [Film("first", views[:COUNT]), Film("second", views[COUNT:])]


@dataclass
class Copying:
    """An engine that gives back what it is shown, as softly as it is told."""

    sigma: float = 0.0
    weights = untrained("lite-in-place")

    def conditioning(self, performance: Performance) -> WindowConditioning:
        return WindowConditioning(performance)

    def identity_in(self, references: Sequence[FrameSource]) -> None:
        return None

    def draw(self, identity: None, conditions: Sequence[Condition], seed: int) -> np.ndarray:
        pictures = [one.source.picture for one in conditions if one.source]
        soft = [cv2.GaussianBlur(one, (0, 0), self.sigma) if self.sigma else one for one in pictures]
        return np.stack([np.dstack([one, np.full(one.shape[:2], 255, np.uint8)]) for one in soft])


def test_an_old_mouth_that_stays_is_a_leak(films: list[Film]) -> None:
    found = evaluate_in_place(films, Copying(), load_judge())  # type: ignore[arg-type]
    one = found["first"]
    assert one.lips > 0.97 and 0.9 < one.movement < 1.1 and one.leak > 0.9 and one.other < 0.6
    assert one.shared == pytest.approx(0, abs=0.05), "drawn into its own clip no word knows of another's lips"
    assert 0.8 < one.sharpness <= 1.1 and 0.8 < one.flicker < 1.2 and one.kept > 0.7
    assert as_table(found).count("\n") == 5


def test_a_soft_mouth_is_told(films: list[Film]) -> None:
    soft = evaluate_in_place(films, Copying(sigma=2.0), load_judge())["first"]  # type: ignore[arg-type]
    assert soft.sharpness < 0.3


def test_a_drawn_mouth_leaves_all_else(films: list[Film]) -> None:
    engine: PcavsEngine = as_pcavs(load_engine(untrained("lite-in-place"), "cpu", "fp32"))
    made = np.concatenate(list(DubbedClip(films[0], engine).film(films[1])))
    changed = (made != films[0].shown).any(axis=3)
    assert made.shape == films[0].shown.shape and 0.05 < changed.mean() < 0.4
    assert not changed[:, :90].any(), "eyes and nose"


def test_what_is_drawn_over_is_told(films: list[Film]) -> None:
    blind: PcavsEngine = as_pcavs(load_engine(untrained("lite-in-place"), "cpu", "fp32"))  # sees nothing before a face
    dubbed = DubbedClip(films[0], blind)
    covered = CoveredClip.of(dubbed, 1)
    assert covered.covers.any(axis=(1, 2)).all() and covered.kept(covered.frames) == 1
    made = np.concatenate(list(dubbed.film(films[0], covered.frames)))
    assert made.shape == covered.frames.shape and covered.kept(made) < 0.8


def test_one_clip_alone_has_no_other_words(films: list[Film]) -> None:
    with pytest.raises(PoseDubError, match="give two clips or more"):
        evaluate_in_place(films[:1], Copying(), load_judge())  # type: ignore[arg-type]
