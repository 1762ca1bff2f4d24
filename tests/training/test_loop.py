"""Runs on a drawn corpus: every stage learns, resume is exact, and what comes out dubs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model_server.errors import PoseDubError
from model_server.training import checkpoint as checkpoints
from model_server.training.distributed import ProcessGroup
from model_server.training.pcavs.config import STAGES, Config, StageName
from model_server.training.pcavs.data import ClipStore
from model_server.training.pcavs.loop import Trainer, make_stage
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.samplers import sample_frames
from model_server.training.settings import changed
from model_server.training.timing import Limits, Progress

MAKING = tuple(stage for stage in STAGES if stage != "lower_face")  # that of networks for whole heads
ALONE = ProcessGroup(0, 1, torch.device("cpu"))


def trained(config: Config, corpus: Path, run: Path, stage: StageName, steps: float = float("inf")) -> Trainer:
    trainer = Trainer(config, [corpus], run, ALONE)
    trainer.train([stage], Limits(steps=steps))
    return trainer


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@torch.no_grad()
def normalised(models: Models, store: ClipStore) -> None:
    """Let batch normalisation see faces, as earlier stages would."""
    frames, networks = sample_frames(store, 6, np.random.default_rng(9)), models.networks
    for _ in range(40):
        networks.identity_encoder(frames.images)
        networks.nonidentity_encoder(frames.images)
        networks.speech_encoder(frames.windows)


@pytest.mark.slow
@pytest.mark.parametrize("stage", MAKING)
def test_a_batch_seen_often_is_learnt(stage: StageName, small: Config, corpus: Path) -> None:
    torch.manual_seed(0)
    config = changed(small, {"augmentation": 0.0, "generator.critic_start": 100})
    store = ClipStore([corpus], "train", ALONE.device, 8)
    models = Models(config, 3)
    normalised(models, store)
    learning = make_stage(stage, models, config, ALONE)
    batch = learning.sample(store, np.random.default_rng(0))
    totals = []
    for learner in learning.learners.values():
        learner.task.train()
    for _ in range(24):
        torch.manual_seed(0)
        totals.append(float(learning.learn(batch, 0, True)["total"]))
        learning.update(0)
    assert max(totals[-3:]) < 0.95 * totals[0]


def test_curves_and_samples_are_written(small: Config, corpus: Path, tmp_path: Path) -> None:
    trained(changed(small, {"generator.steps": 2}), corpus, tmp_path, "generator")
    (line,) = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert line["step"] == 2 and line["samples_per_second"] > 0
    assert {"total", "flow", "unseen_total", "unseen_flow"} <= line.keys()
    with Image.open(tmp_path / "samples" / "generator-0000002.png") as picture:
        assert picture.size == (6 * 224, 2 * 224)
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("banked", [False, True])
@pytest.mark.parametrize("stage", ["speech", "generator"])
def test_two_and_two_steps_are_four_steps(
    stage: StageName, banked: bool, small: Config, corpus: Path, tmp_path: Path
) -> None:
    shared = {"generator.critic_start": 1, "speech.train_trunk": not banked, "banked": banked}
    config = changed(small, {f"{stage}.steps": 4, f"{stage}.accumulate": 2, **shared})
    whole = trained(config, corpus, tmp_path / "whole", stage)
    first = trained(config, corpus, tmp_path / "parts", stage, steps=2)
    assert first.steps == {stage: 2}
    rest = trained(config, corpus, tmp_path / "parts", stage)
    assert same(rest.models.state_dict(), whole.models.state_dict())
    ends = [checkpoints.load(checkpoints.latest(tmp_path / name)) for name in ("whole", "parts")]  # type: ignore[arg-type]
    assert str(ends[0].optimizers) == str(ends[1].optimizers)


def test_all_stages_run_in_order_and_stop_between(small: Config, corpus: Path, tmp_path: Path) -> None:
    reports: list[Progress] = []
    trainer = Trainer(small, [corpus], tmp_path, ALONE, report=reports.append)
    assert not trainer.train(limits=Limits(steps=5))
    assert trainer.steps == {"trunk": 2, "identity": 2, "speech": 1}
    again = Trainer(small, [corpus], tmp_path, ALONE, report=reports.append)
    assert again.train() and list(again.steps) == list(MAKING)
    assert [report.stage for report in reports] == [*MAKING, "generator"]
    assert all(report.samples_per_second > 0 for report in reports)
    assert len(list(tmp_path.glob("checkpoint-*.pt"))) == 2


def test_a_call_without_time_leaves_at_once(small: Config, corpus: Path, tmp_path: Path) -> None:
    assert not Trainer(small, [corpus], tmp_path, ALONE).train(limits=Limits(seconds=1))


def test_clips_without_labels_train_the_generator(small: Config, unlabelled: Path, tmp_path: Path) -> None:
    config = changed(small, {"generator.steps": 1})
    trainer = trained(config, unlabelled, tmp_path, "generator")
    assert all(torch.isfinite(value).all() for value in trainer.models.state_dict().values())


def test_other_settings_are_refused(small: Config, corpus: Path, tmp_path: Path) -> None:
    trained(changed(small, {"identity.steps": 1}), corpus, tmp_path, "identity")
    with pytest.raises(PoseDubError, match="other settings"):
        Trainer(changed(small, {"seed": 3}), [corpus], tmp_path, ALONE)


def test_a_run_goes_on_with_more_people(small: Config, corpus: Path, unlabelled: Path, tmp_path: Path) -> None:
    first = trained(changed(small, {"trunk.steps": 1}), corpus, tmp_path, "trunk")
    more = Trainer(changed(small, {"trunk.steps": 2}), [corpus, unlabelled], tmp_path, ALONE)
    assert same(more.models.networks.state_dict(), first.models.networks.state_dict())
    assert more.models.classifier.out_features == 6 and more.train(["trunk"])


@pytest.mark.parametrize("change", [{"pose_size": 36}, {"modulation": "adaptive_norm"}, {"generator.contrastive": 0}])
def test_ablations_train(change: dict[str, object], small: Config, corpus: Path, tmp_path: Path) -> None:
    from model_server.training.pcavs.export import export, run_engine

    config = changed(small, {**change, "generator.steps": 1})
    trained(config, corpus, tmp_path, "generator")
    engine = run_engine(tmp_path)
    crops = np.zeros((1, 224, 224, 3), np.uint8)
    assert engine.pose_codes(crops).shape == (1, config.pose_size)
    if "generator.contrastive" not in change:
        with pytest.raises(PoseDubError, match="ablation"):
            export(tmp_path, [], tmp_path / "x.safetensors", "x")
