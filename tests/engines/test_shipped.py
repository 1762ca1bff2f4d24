"""Weights inside the package are used by default, and only if they are what was shipped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model_server.cli.options import weights_path
from model_server.cli.recogniser import chosen_recogniser
from model_server.engines import shipped, weights
from model_server.engines.base import WeightsKind
from model_server.engines.dae_talker.actor_file import read_networks, write_actor
from model_server.engines.dae_talker.untrained import TOY, untrained_networks
from model_server.engines.dae_talker.weights import Actor
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import untrained, write_weights
from model_server.engines.pose_map import PoseMap
from model_server.engines.shipped import (
    ACTOR,
    FILE,
    MAX_ACTOR_BYTES,
    MAX_BYTES,
    RECOGNISER,
    RECORD,
    ship,
    ship_actor,
    ship_pose_reading,
    ship_recogniser,
    shipped_actor,
    shipped_recogniser,
    shipped_weights,
)
from model_server.engines.speech_recogniser import save_recogniser
from model_server.engines.weights_file import describe, keep_pose_reading, read_pose_map, read_state
from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.speech_recogniser.recogniser import Recogniser, RecogniserSize
from model_server.pipeline.speech_pose import teller_among
from model_server.synthetic.pronunciation import UNITS

POSE_MAP = PoseMap(
    to_code=tuple(tuple(np.eye(12)[row] / 30) for row in range(3)),
    frontal=(0.0,) * 12,
    to_angles=tuple(tuple(30 * np.eye(12)[row, :3]) for row in range(12)),
    zero=(0.0, 1.0, 0.0),
    residual=(1.5, 2.0, 0.5),
)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A weights file that claims to be trained, for the test's own folder only."""
    path = tmp_path / "run.safetensors"
    write_weights(path, untrained_state("lite"), "lite", "trained", "A run", pose_map=POSE_MAP)
    return path


def toy_actor(path: Path, kind: WeightsKind) -> Path:
    """An actor's file that says how it was trained, for the test's own folder only."""
    write_actor(path, untrained_networks(), Actor("Toy", (-9, -9, -9), (9, 9, 9)), TOY, kind)
    return path


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    ship(trained, tmp_path / "data")
    return tmp_path / "data"


def test_shipped_weights_are_the_trained_ones_in_half_precision(trained: Path, folder: Path) -> None:
    info = shipped_weights(folder)
    assert info is not None
    assert (info.name, info.kind, info.preset) == ("A run", "trained", "lite")
    assert info.path == folder / FILE and (folder / FILE).stat().st_size < MAX_BYTES
    exact, stored = read_state(trained), read_state(folder / FILE)
    assert exact.keys() == stored.keys()
    for name, value in exact.items():
        torch.testing.assert_close(stored[name], value, rtol=1e-3, atol=1e-6)
    assert read_pose_map(folder / FILE) == info.pose_map == POSE_MAP


def test_what_the_package_holds_is_the_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "shipped_weights", lambda: shipped_weights(folder))
    assert weights.default_weights() == shipped_weights(folder)
    monkeypatch.setattr(weights, "shipped_weights", lambda: None)
    assert weights.default_weights() == untrained("lite")


def test_the_package_as_it_is() -> None:
    """Whatever lies in the package must be whole: `shipped_weights` raises otherwise."""
    info, recogniser, actor = shipped_weights(), shipped_recogniser(), shipped_actor()
    files = {path.name for path in shipped.DATA.glob("*.*")} if shipped.DATA.is_dir() else set()
    found = {FILE: info, RECOGNISER: recogniser, ACTOR: actor}
    wanted = {name for name, one in found.items() if one}
    assert files == (wanted | {RECORD} if wanted else set())
    assert [describe(one.path) for one in (info, actor) if one and one.path] == [one for one in (info, actor) if one]
    assert info is None or info.kind == "trained"
    assert recogniser is None or chosen_recogniser(None).facts["steps"] > 10_000
    assert actor is None or (actor.kind == "trained" and actor.path and actor.path.stat().st_size <= MAX_ACTOR_BYTES)
    assert actor is None or read_networks(actor).speech  # it may hear with the recogniser beside it


def test_a_recogniser_is_shipped_beside_them(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="recogniser"):
        ship_recogniser(folder / FILE, folder)
    assert shipped_recogniser(folder) is None
    torch.manual_seed(0)
    network = Recogniser(RecogniserSize(len(UNITS), width=32, blocks=1, heads=2, reach=8, kernel=5))
    save_recogniser(network, UNITS, {"steps": 1}, tmp_path / "ears.safetensors")
    path = ship_recogniser(tmp_path / "ears.safetensors", folder)
    assert shipped_recogniser(folder) == path and shipped_weights(folder) is not None
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PoseDubError, match="install PoseDub again"):
        shipped_recogniser(folder)


def test_damaged_or_missing_shipped_weights_are_refused(folder: Path) -> None:
    path = folder / FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(PoseDubError, match="install PoseDub again") as caught:
            shipped_weights(folder)
        assert caught.value.kind is ErrorKind.CORRUPT
        path.unlink(missing_ok=True)


def test_a_trained_actor_is_shipped_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, source = tmp_path / "data", toy_actor(tmp_path / "toy.safetensors", "trained")
    assert shipped_actor(data) is None
    info = ship_actor(source, data)
    assert shipped_actor(data) == info and info.path == data / ACTOR
    assert info.path.read_bytes() == source.read_bytes()
    monkeypatch.setattr(shipped, "shipped_actor", lambda: info)
    monkeypatch.chdir(tmp_path)
    assert weights_path("actor") == info.path and weights_path("toy.safetensors") == Path("toy.safetensors")
    (tmp_path / "actor").touch()
    assert weights_path("actor") == Path("actor")


def test_where_no_weights_are_named_the_actor_is_offered_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data, own = tmp_path / "data", describe(toy_actor(tmp_path / "own.safetensors", "untrained"))
    info = ship_actor(toy_actor(tmp_path / "toy.safetensors", "trained"), data)
    monkeypatch.setattr(weights, "shipped_actor", lambda: shipped_actor(data))
    default = weights.default_weights()
    assert weights.built_in_weights([own]) == [default, own, info]
    assert teller_among(default, weights.built_in_weights([own])) == own
    (data / ACTOR).write_bytes(b"damaged")
    assert weights.built_in_weights() == [default] and "install PoseDub again" in caplog.text
    (data / RECORD).unlink()
    assert weights.built_in_weights() == [default]


def test_only_a_trained_actor_can_be_the_shipped_one(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, source = tmp_path / "data", toy_actor(tmp_path / "toy.safetensors", "untrained")
    for path in (source, trained):
        with pytest.raises(PoseDubError, match="only a trained actor"):
            ship_actor(path, data)
    monkeypatch.setattr(shipped, "MAX_ACTOR_BYTES", 1000)
    with pytest.raises(PoseDubError, match="larger than 1000 bytes"):
        ship_actor(toy_actor(tmp_path / "large.safetensors", "trained"), data)
    assert not (data / ACTOR).exists()


def test_without_a_record_there_are_none(folder: Path) -> None:
    (folder / RECORD).unlink()
    assert shipped_weights(folder) is None


def test_untrained_weights_cannot_be_shipped(tmp_path: Path) -> None:
    path = tmp_path / "untrained.safetensors"
    write_weights(path, untrained_state("lite"), "lite", "untrained", "u")
    with pytest.raises(PoseDubError, match="only trained lite ones"):
        ship(path, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_pose_map_goes_both_ways(trained: Path) -> None:
    pose_map = read_pose_map(trained)
    assert pose_map == POSE_MAP
    angles = np.array([[0, 0, 0], [30, -15, 5]])
    codes = pose_map.codes(angles)
    assert codes.shape == (2, 12) and codes.dtype == np.float32
    np.testing.assert_allclose(codes[1, :3], [1, -0.5, 1 / 6], rtol=1e-6)
    np.testing.assert_allclose(pose_map.angles(codes), angles + [0, 1, 0], atol=1e-5)


def test_how_the_pose_is_read_is_kept_beside_the_tensors(trained: Path, folder: Path) -> None:
    before, told = read_state(folder / FILE), shipped_weights(folder)
    assert told is not None and told.pose_reading == "encoder"
    info = ship_pose_reading("angles", folder)
    assert info == shipped_weights(folder) and info.pose_reading == "angles" and info.id != told.id
    assert replace(info, id=told.id, pose_reading="encoder") == told
    after = read_state(folder / FILE)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert ship(folder / FILE, trained.parent / "again").pose_reading == "angles"


def test_weights_without_a_pose_map_are_read_by_the_encoder_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, untrained_state("lite"), "lite", "trained", "w")
    with pytest.raises(PoseDubError, match="no pose map"):
        keep_pose_reading(path, "angles")
    assert describe(path).pose_reading == "encoder"


def test_a_file_without_a_pose_map_says_none(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", untrained_state("lite"), "lite", "trained", "w")
    assert read_pose_map(tmp_path / "w.safetensors") is None


def test_a_pose_map_of_before_its_error_was_kept_still_loads() -> None:
    values = json.loads(POSE_MAP.to_json())
    del values["residual"]
    assert PoseMap.from_json(json.dumps(values)) == replace(POSE_MAP, residual=None)


@pytest.mark.parametrize("text", ["[]", "{", '{"zero": [0, 0, 0]}', json.dumps({"to_code": [[1]], "frontal": [0],
                                  "to_angles": [[1]], "zero": [0]})])  # fmt: skip
def test_a_damaged_pose_map_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        PoseMap.from_json(text)
