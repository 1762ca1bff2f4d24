"""Runs that begin with the encoders of another one."""

from pathlib import Path

import pytest
import torch

from model_server.errors import PoseDubError
from model_server.training.distributed import ProcessGroup
from model_server.training.pcavs.config import Config
from model_server.training.pcavs.loop import Trainer
from model_server.training.pcavs.warm_start import WarmStart
from model_server.training.settings import changed

ALONE = ProcessGroup(0, 1, torch.device("cpu"))


@pytest.mark.slow
def test_an_ablation_trains_only_what_it_changes(small: Config, corpus: Path, tmp_path: Path) -> None:
    whole = Trainer(changed(small, {"banked": True, "speech.train_trunk": False}), [corpus], tmp_path / "a", ALONE)
    assert whole.train()
    config = changed(whole.config, {"pose_size": 36})
    heir = Trainer(config, [corpus], tmp_path / "b", ALONE, warm_start=WarmStart(tmp_path / "a", "generator"))
    ours, theirs = heir.models.state_dict(), whole.models.state_dict()
    encoders = [name for name in ours if "speech_encoder" in name or "trunk" in name or "identity_encoder.st" in name]
    assert encoders and all(torch.equal(ours[name], theirs[name]) for name in encoders)
    drawn = [name for name in ours if name.startswith("networks.generator") and ours[name].shape == theirs[name].shape]
    assert drawn and not all(torch.equal(ours[name], theirs[name]) for name in drawn)
    banks = sorted((tmp_path / "a" / "features").iterdir())
    assert heir.train() and heir.steps["generator"] == config.generator.steps
    assert sorted((tmp_path / "a" / "features").iterdir()) == banks and not (tmp_path / "b" / "features").exists()


def test_what_cannot_be_taken_over_is_named(small: Config, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="no checkpoint"):
        Trainer(small, [corpus], tmp_path / "b", ALONE, warm_start=WarmStart(tmp_path / "a", "generator"))
    Trainer(small, [corpus], tmp_path / "a", ALONE).train(["trunk"])
    wider = changed(small, {"preset": "lite"})
    with pytest.raises(PoseDubError, match="other sizes"):
        Trainer(wider, [corpus], tmp_path / "b", ALONE, warm_start=WarmStart(tmp_path / "a", "identity"))
