"""An actor's weights file: all of its parts come back, it says what its actor can do, and misfits are named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model_server.engines import registry
from model_server.engines.dae_talker import family
from model_server.engines.dae_talker.actor_file import read_networks, write_actor
from model_server.engines.dae_talker.actor_networks import ActorNetworks
from model_server.engines.dae_talker.engine import DaeTalkerEngine
from model_server.engines.dae_talker.untrained import preset_sizes, untrained_networks, write_untrained
from model_server.engines.dae_talker.weights import Actor, read_actor
from model_server.engines.weights import describe
from model_server.engines.weights_file import KINDS
from model_server.errors import PoseDubError
from model_server.networks.dae_talker.presets import AUTOENCODERS

ACTOR = Actor(
    "Ada", (-9.0, -4.0, -3.0), (11.0, 5.0, 2.5), (1.5, 1.2, 1.0), licence=("made of nobody",), facts={"steps": 7}
)


def test_all_parts_come_back(actor_file: Path) -> None:
    networks, weights = untrained_networks(), describe(actor_file)
    assert (weights.engine, weights.preset, weights.kind) == ("dae_talker", "toy", "untrained")
    read = read_networks(weights)
    assert {name for name, _ in read.modules()} == {"speech", "speech2latent", "autoencoder", "student", "pictures"}
    assert read.sizes() == networks.sizes()
    for name, value in networks.state().items():
        torch.testing.assert_close(read.state()[name], value, rtol=2e-3, atol=1e-4)
    torch.testing.assert_close(read.start_noise, networks.start_noise, rtol=0, atol=0)


def test_what_is_said_of_the_actor_comes_back(tmp_path: Path) -> None:
    write_actor(tmp_path / "ada.safetensors", untrained_networks(), ACTOR, "toy")
    weights = describe(tmp_path / "ada.safetensors")
    read = read_actor(weights)
    assert replace(read, sizes={}, resolution=0) == ACTOR and read.resolution == 64
    assert weights.name == "Ada" and weights.kind == KINDS[1]
    controls = registry.traits(weights).pose_controls
    assert [(one.name, one.low, one.high) for one in controls] == [
        ("yaw", -9.0, 11.0), ("pitch", -4.0, 5.0), ("roll", -3.0, 2.5)
    ]  # fmt: skip
    assert 64 in registry.sizes(weights) and 66 not in registry.sizes(weights)


def test_a_file_may_hold_the_fast_decoder_alone(tmp_path: Path) -> None:
    fast = replace(untrained_networks(), autoencoder=None)
    write_actor(tmp_path / "fast.safetensors", fast, ACTOR, "toy")
    read = read_networks(describe(tmp_path / "fast.safetensors"))
    assert read.autoencoder is None and read.student is not None
    wanted = registry.traits(describe(tmp_path / "fast.safetensors"))
    assert wanted.parameters == ("pose_gain",) and not wanted.portrait_optional
    with pytest.raises(ValueError, match="an autoencoder or a student"):
        replace(fast, student=None)


@pytest.mark.parametrize("preset", AUTOENCODERS)
def test_sizes_of_all_presets_come_back_from_json(preset: str) -> None:
    sizes = preset_sizes(preset)
    with torch.device("meta"):
        read = ActorNetworks.empty(json.loads(json.dumps(sizes)))
    assert read.sizes() == sizes
    assert read.resolution == {"dae-64": 64, "dae-256": 256}.get(preset, 128)


def changed(source: Path, out: Path, **metadata: str) -> Path:
    with safe_open(source, "pt") as file:
        kept = file.metadata()
    save_file(load_file(source), out, kept | metadata)
    return out


def test_damage_is_a_sentence(actor_file: Path, tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="does not say whom it draws"):
        describe(changed(actor_file, tmp_path / "a", actor="{}"))
    with pytest.raises(PoseDubError, match="names no networks of this version"):
        describe(changed(actor_file, tmp_path / "b", actor=ACTOR.to_json()))
    state = load_file(actor_file)
    del state["start_noise"]
    with safe_open(actor_file, "pt") as file:
        save_file(state, tmp_path / "c", file.metadata())
    with pytest.raises(PoseDubError, match="start_noise is missing"):
        describe(tmp_path / "c")


def test_ranges_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="lies above"):
        Actor("x", (1.0, 0.0, 0.0), (0.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="3 numbers"):
        Actor("x", (1.0, 0.0), (2.0, 1.0, 1.0))  # type: ignore[arg-type]


def test_whoever_asks_what_there_is_needs_no_torch() -> None:
    code = "import sys; import model_server.engines.dae_talker.family; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_parts_that_are_lacking_are_a_sentence(tmp_path: Path) -> None:
    write_actor(tmp_path / "slow.safetensors", replace(untrained_networks(), student=None), ACTOR, "toy")
    engine = family.load(describe(tmp_path / "slow.safetensors"), "cpu")
    assert isinstance(engine, DaeTalkerEngine)
    counts = family.parameter_counts(engine.weights)
    assert set(counts) == {"speech", "speech2latent", "autoencoder", "pictures"} and all(counts.values())


def test_untrained_actors_are_the_same_everywhere(tmp_path: Path, actor_file: Path) -> None:
    again, first = (load_file(path) for path in (write_untrained(tmp_path / "again.safetensors"), actor_file))
    assert all(torch.equal(first[name], again[name]) for name in first)
