"""Configurations are named, read, changed and told apart."""

from dataclasses import replace
from pathlib import Path

import pytest

from model_server.errors import PoseDubError
from model_server.training.checkpoint import settings_of
from model_server.training.pcavs import config
from model_server.training.pcavs.models import build_networks
from model_server.training.settings import changed, parse_settings


def test_settings_keep_their_type() -> None:
    settings = parse_settings(["generator.batch=3", "generator.train_encoders=true", "name=trial"])
    mine = changed(config.named("lite"), settings)
    assert mine.generator.batch == 3 and mine.generator.train_encoders is True and mine.name == "trial"


@pytest.mark.parametrize("setting", ["generator.bitch=3", "generator=3", "seed.x=1", "trunk.steps=many", "x"])
def test_wrong_settings_are_named(setting: str) -> None:
    with pytest.raises(PoseDubError, match=setting.partition("=")[0]):
        changed(config.named("lite"), parse_settings([setting]))


def test_a_file_changes_what_it_is_based_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "full"\nseed = 5\n[trunk]\nbatch = 7\n')
    read = config.read_config(path)
    assert (read.name, read.preset, read.seed, read.trunk.batch) == ("mine", "full", 5, 7)
    path.write_text("seed = ")
    with pytest.raises(PoseDubError, match="mine.toml"):
        config.read_config(path)


def test_the_digest_ignores_lengths_only() -> None:
    lite = config.named("lite")
    assert changed(lite, {"trunk.steps": 1}).digest() == lite.digest()
    assert changed(lite, {"trunk.batch": 1}).digest() != lite.digest()
    assert config.restored(config.asdict(lite)) == lite


def test_ablations_differ_from_lite_in_what_they_say() -> None:
    plain = {name: value.shape for name, value in build_networks(config.named("lite")).state_dict().items()}
    wide = build_networks(config.named("lite-pose-36"))
    assert wide.nonidentity_encoder.pose_embedding.out_features == 36
    adain = {name for name in build_networks(config.named("lite-adain")).state_dict() if "generator" in name}
    assert any("affine" in name for name in adain) and not any("affine" in name for name in plain)
    assert config.named("lite-no-contrastive").speech.contrastive == 0


def test_runs_of_before_there_were_optional_parts_do_without() -> None:
    known = settings_of(config.named("lite"))
    assert config.restored(known) == config.named("lite")
    del known["visibility"], known["lids"]
    assert config.restored(known) == replace(config.named("lite"), visibility=False, lids=False)
