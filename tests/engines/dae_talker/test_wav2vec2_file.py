"""wav2vec 2.0 out of files as its users have them, and actors that hear with it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from model_server.engines.base import Performance
from model_server.engines.dae_talker.actor_file import read_networks, write_actor
from model_server.engines.dae_talker.untrained import untrained_networks
from model_server.engines.dae_talker.wav2vec2_file import read_wav2vec2
from model_server.engines.dae_talker.weights import Actor
from model_server.engines.weights import describe, load_engine
from model_server.errors import PoseDubError
from model_server.networks.dae_talker.speech2latent import Speech2Latent
from model_server.networks.dae_talker.wav2vec2 import Wav2Vec2, Wav2Vec2Size
from model_server.networks.dae_talker.wav2vec2_keys import fairseq_key, transformers_key

SMALL = Wav2Vec2Size(channels=8, width=12, inside=20, blocks=2, heads=3, kernel=6, groups=2)


@pytest.fixture(scope="module")
def network() -> Wav2Vec2:
    torch.manual_seed(1)
    return Wav2Vec2(SMALL).eval()


def named(network: Wav2Vec2, key: Callable[[str], str]) -> dict[str, torch.Tensor]:
    return {key(name): value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("layout", ["authors", "transformers", "safetensors"])
def test_files_of_all_layouts(network: Wav2Vec2, tmp_path: Path, layout: str) -> None:
    path = tmp_path / "wav2vec.pt"
    if layout == "authors":
        torch.save({"args": argparse.Namespace(arch="wav2vec2"), "model": named(network, fairseq_key)}, path)
    elif layout == "transformers":
        torch.save(named(network, transformers_key), path)
    else:
        path = tmp_path / "model.safetensors"
        save_file(named(network, transformers_key), path)
    for name, value in read_wav2vec2(path, SMALL).state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name])


class _Harm:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


def test_other_files_are_a_sentence(network: Wav2Vec2, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(PoseDubError, match="There is no wav2vec 2.0 file"):
        read_wav2vec2(path)
    torch.save(_Harm(), path)
    with pytest.raises(PoseDubError, match="asks to run code"):
        read_wav2vec2(path)
    torch.save({"model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(PoseDubError, match=r"holds no wav2vec 2.0 base \(.* is missing.*\); get wav2vec_small.pt"):
        read_wav2vec2(path)
    torch.save(named(network, transformers_key), path)
    with pytest.raises(PoseDubError, match="instead of"):
        read_wav2vec2(path)
    path.write_bytes(b"nothing")
    with pytest.raises(PoseDubError, match="cannot be read"):
        read_wav2vec2(path)


def test_an_actor_may_hear_with_it(network: Wav2Vec2, tmp_path: Path, noise: Any) -> None:
    networks = untrained_networks()
    size = replace(networks.speech2latent.size, layers=3, features=12, prosody=0)
    hearing = replace(networks, speech=network, speech2latent=Speech2Latent(size))
    path = tmp_path / "actor.safetensors"
    write_actor(path, hearing, Actor("Ada", (-9.0, -4.0, -3.0), (9.0, 4.0, 3.0)), "toy")
    assert isinstance(read_networks(describe(path)).speech, Wav2Vec2)

    engine = load_engine(describe(path), "cpu")
    given = {"steps": 1, "pose_gain": 1.0, "shared_noise": True, "seed": 0}
    made = engine.conditioning(Performance(noise(), Fraction(25), 0, None, given)).of(range(195, 205))
    assert len({condition.key for condition in made}) == 10
