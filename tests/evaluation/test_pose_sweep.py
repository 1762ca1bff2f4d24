"""Heads asked to turn, by the built-in weights."""

from dataclasses import replace
from pathlib import Path

import pytest

from model_server.corpus.mesh import MeshReader
from model_server.engines.weights import default_weights, load_engine
from model_server.errors import PoseDubError
from model_server.evaluation.clips import portrait_of
from model_server.evaluation.measure import Instruments
from model_server.evaluation.pose_sweep import as_table, turn

STOCK = Path(__file__).parents[1] / "demo" / "inputs" / "stock"


def test_the_head_turns_as_far_as_it_is_asked_to() -> None:
    engine = load_engine(default_weights(), "cpu")
    views = [portrait_of(path) for path in sorted(STOCK.glob("*.jpg"))[:4]]
    found = turn({"first": views[0]}, views[1:], engine, Instruments(MeshReader(), engine))
    yaw = found["first"].sweeps["yaw"]
    assert yaw.rising == 1 and yaw.correlation > 0.95 and yaw.error < 5
    assert abs(found["first"].own[0]) < 6 and found["first"].recognised > 0.7
    assert as_table(found).splitlines()[-1].startswith("| first |")


def test_weights_without_a_pose_map_are_refused() -> None:
    engine = load_engine(default_weights(), "cpu")
    engine.weights = replace(engine.weights, pose_map=None)
    with pytest.raises(PoseDubError, match="no pose map"):
        turn({}, [], engine, Instruments(MeshReader(), engine))
