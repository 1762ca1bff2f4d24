"""Rendered people beside what is drawn of their portraits at other poses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from model_server.cli.main import main
from model_server.corpus.mesh import MeshReader
from model_server.engines.pcavs.engine import as_pcavs
from model_server.engines.shipped import shipped_weights
from model_server.engines.weights import load_engine
from model_server.evaluation.turned_people import (
    CODES,
    COPY,
    POSES,
    TurnedPerson,
    as_table,
    rendered_person,
    turned_people,
)
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.portrait import portrait_views
from model_server.pipeline.request import Portrait
from tests.clips import INPUTS


def test_pixels_count_where_the_person_is_seen_and_landmarks_where_they_are() -> None:
    face = portrait_views(INPUTS / "stock" / "03.jpg", Portrait("x"), 224, FaceFinder).seen
    shown = np.zeros((2, 224, 224), bool)
    shown[:, :112] = True
    person = TurnedPerson(face, np.zeros((2, 3), np.float32), np.stack([face, face]), shown)
    brighter = np.clip(face.astype(int) + 10, 0, 255).astype(np.uint8)
    brighter[200:] = 0
    (pixels, still), (_, moved) = person.errors(np.stack([brighter, np.roll(face, 4, axis=1)]), MeshReader())
    assert pixels == pytest.approx(10, abs=0.5)
    assert still < 1 and moved == pytest.approx(4, abs=0.5)


@pytest.mark.slow
def test_people_are_rendered_and_turned() -> None:
    ict = os.environ.get("POSEDUB_ICT")
    weights = shipped_weights()
    if not ict or not weights:
        pytest.skip("POSEDUB_ICT does not name ICT-FaceKit's ict.npz")
    person = rendered_person(Path(ict), 3)
    assert person.views.shape == (6, 224, 224, 3) and person.poses.shape == (6, 3)
    assert person.shown.mean() > 0.2 and not person.shown.all()
    engine = as_pcavs(load_engine(weights, "cpu", "fp32"))
    done: list[None] = []
    found = turned_people({"lite": engine}, Path(ict), 1, lambda: done.append(None))
    assert len(done) == 1 and set(found) == {COPY, "lite", f"lite, {CODES}"}
    for pose in POSES:
        assert found["lite"][pose].landmarks < 0.6 * found[COPY][pose].landmarks
        assert found["lite"][pose].pixels < found[COPY][pose].pixels
    table = as_table(found)
    assert table.count("\n") == 5 and "yaw ±30°" in table


def test_people_cannot_be_rendered_without_a_head_model(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="needs --ict"):
        main(["evaluate", "--rendered-turns", "1", "--out", str(tmp_path / "out")])
