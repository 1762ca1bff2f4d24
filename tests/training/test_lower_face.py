"""The lower face is learnt from runs of frames, other mouths and things in front of them; resume is exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model_server.corpus.pictures import decode_jpeg, encode_jpeg
from model_server.corpus.shards import OTHERS_TOP, Clip, Corpus, Entry, Index, write_index, write_shard
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import write_weights
from model_server.engines.weights_file import describe, read_state, read_tensors
from model_server.errors import PoseDubError
from model_server.networks.pcavs.lower_face import turned_alike
from model_server.networks.pcavs.presets import PRESETS, LowerFaceWidths
from model_server.networks.sync_network import FRAMES
from model_server.training.distributed import ProcessGroup
from model_server.training.pcavs.config import Config, changed, named
from model_server.training.pcavs.data import ClipStore
from model_server.training.pcavs.export import export_onto
from model_server.training.pcavs.loop import Limits, Trainer, make_stage
from model_server.training.pcavs.lower_face_data import sample_lower_faces
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.warm_start import WarmStart
from tests.training.conftest import TINY, drawn_clip

ALONE = ProcessGroup(0, 1, torch.device("cpu"))
WIDTHS = LowerFaceWidths(side=32, seen=(4, 8, 8, 8), drawn=(16, 16, 8, 8), style=16)
PRESETS["tiny-in-place"] = replace(TINY, lower_face=WIDTHS)
JUDGE = Path(__file__).parents[2] / "model_server" / "evaluation" / "sync" / "data" / "sync_judge.safetensors"


def face_clip(name: str, seed: int) -> Clip:
    """A drawn head with landmarks where its eyes, nose and mouth are, and with another mouth for each frame."""
    clip = drawn_clip(name, f"person{seed % 2}", seed)
    assert clip.angles is not None and clip.opening is not None
    marks = np.full((len(clip.jpegs), 68, 2), 112.0, np.float32)
    marks[:, 36], marks[:, 45], marks[:, 33] = (76, 59), (148, 59), (112, 100)
    marks[:, 48:, 0], marks[:, 48:, 1] = np.linspace(95, 130, 20), 120
    marks[:, :, 0] += clip.angles[:, :1] / 2
    others = tuple(encode_jpeg(np.roll(decode_jpeg(jpeg), 6, axis=0)[OTHERS_TOP:]) for jpeg in clip.jpegs)
    return replace(clip, landmarks=marks, angles=clip.angles / 2, others=others)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "faces"
    folder.mkdir()
    clips = [face_clip(f"clip{seed}", seed) for seed in range(4)]
    write_shard(folder / "shard-00000.safetensors", clips)
    entries = [Entry(c.name, c.identity, c.source, len(c.jpegs), "shard-00000.safetensors", "train") for c in clips]
    write_index(folder, Index((*entries[:3], replace(entries[3], split="val"))))
    return folder


@pytest.fixture(scope="session")
def config(lite: Config) -> Config:
    """A few steps of a tiny network."""
    changes = {"steps": 4, "batch": 1, "accumulate": 2, "critic_width": 4, "critic_start": 1, "covers": 0.5}
    few = changed(lite, {"preset": "tiny-in-place"} | {f"lower_face.{name}": value for name, value in changes.items()})
    return changed(few, {"lower_face.expert": str(JUDGE), "lower_face.perceptual": 0.5})


def test_other_mouths_are_kept_beside_the_frames(faces: Path) -> None:
    clip = Corpus.open(faces).clip("clip1")
    assert clip.others == face_clip("clip1", 1).others
    tensors = ClipStore([faces], "train", ALONE.device, 4)[1]
    views, own = tensors.other_mouths(range(3), np.random.default_rng(0)), tensors.frames(range(3)).images
    row = (OTHERS_TOP + 2) * 224 // 192
    torch.testing.assert_close(views[:, :, : row - 8], own[:, :, : row - 8])
    assert (views[:, :, row:] - own[:, :, row:]).abs().mean() > 0.02


def test_runs_have_what_is_hidden_other_mouths_and_covers(faces: Path) -> None:
    store = ClipStore([faces], "train", ALONE.device, 4)
    batch = sample_lower_faces(store, 2, 96, 1.0, np.random.default_rng(1))
    assert batch.target.shape == batch.source.shape == (2 * FRAMES, 3, 96, 96)
    assert batch.references.shape[0] == 2 and 1 <= batch.references.shape[1] <= 4
    assert ((batch.taken > 0) <= (batch.hidden > 0)).all() and 0.2 < batch.hidden.mean() < 0.7
    assert (batch.target - batch.source).abs().mean() > 0.01, "other mouths"
    alpha = batch.covers[:, 3:]
    assert alpha.amax() > 0.9 and torch.equal(batch.covered(batch.source)[(alpha == 0).expand(-1, 3, -1, -1)],
                                             batch.source[(alpha == 0).expand(-1, 3, -1, -1)])  # fmt: skip
    again = sample_lower_faces(store, 2, 96, 1.0, np.random.default_rng(1))
    assert all(torch.equal(getattr(batch, name), getattr(again, name)) for name in vars(batch))


def test_clips_without_sound_teach_drawing_and_nothing_of_speech(config: Config, tmp_path: Path) -> None:
    """As photographs whose mouths move are."""
    clips = [face_clip("loud", 0), replace(face_clip("mute", 1), mel=np.full_like(face_clip("mute", 1).mel, np.nan))]
    write_shard(tmp_path / "shard-00000.safetensors", clips)
    entries = [Entry(c.name, c.identity, c.source, len(c.jpegs), "shard-00000.safetensors", "train") for c in clips]
    write_index(tmp_path, Index(tuple(entries)))
    store = ClipStore([tmp_path], "train", ALONE.device, 4)
    stage = make_stage("lower_face", Models(config, 2), config, ALONE)
    draws = (sample_lower_faces(store, 2, 32, 0.0, np.random.default_rng(seed)) for seed in range(40))
    runs = {tuple(one.heard[one.rows[::FRAMES]].tolist()): one for one in draws}
    assert {(True, False), (False, False)} <= runs.keys()
    silent = stage.learn(runs[False, False], 0, True)
    assert float(silent["sync"]) == 0 and float(silent["image"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
def test_a_batch_seen_often_is_learnt(config: Config, faces: Path, half: bool) -> None:
    torch.manual_seed(0)
    quick = changed(config, {"lower_face.critic_start": 100, "lower_face.learning_rate": 4e-3})
    store, models = ClipStore([faces], "train", ALONE.device, 4), Models(quick, 3)
    stage = make_stage("lower_face", models, quick, ALONE)
    batch = stage.sample(store, np.random.default_rng(0))
    for learner in stage.learners.values():
        learner.task.train()
    totals = []
    for _ in range(24):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            totals.append(float(stage.learn(batch, 0, True)["total"]))
        stage.update(0)
    assert max(totals[-3:]) < 0.8 * totals[0]


def test_two_and_two_steps_are_four_steps(config: Config, faces: Path, tmp_path: Path) -> None:
    def trained(run: str, steps: float = float("inf")) -> dict[str, torch.Tensor]:
        trainer = Trainer(config, [faces], tmp_path / run, ALONE)
        trainer.train(["lower_face"], Limits(steps=steps))
        return trainer.models.state_dict()

    whole, _ = trained("whole"), trained("parts", 2)
    rest = trained("parts")
    assert all(torch.equal(whole[name], rest[name]) for name in whole)
    assert (tmp_path / "whole" / "samples" / "lower_face-0000002.png").is_file()


def test_only_the_lower_face_is_learnt_and_laid_onto_weights(faces: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    half = {name: value.half() if value.ndim > 1 else value for name, value in untrained_state("lite").items()}
    write_weights(base, half, "lite", "trained", "Base")
    steps = {"lower_face.steps": 1, "lower_face.batch": 1, "lower_face.critic_start": 5}
    config = changed(named("lite-in-place-cpu"), steps)
    trainer = Trainer(config, [faces], tmp_path / "run", ALONE, warm_start=WarmStart(base, "lower_face"))
    assert trainer.train(["lower_face"])
    learnt, told = trainer.models.networks.state_dict(), read_state(base)
    assert all(torch.equal(learnt[name], value) for name, value in told.items())
    info = export_onto(tmp_path / "run", [], base, tmp_path / "out.safetensors", "")
    assert (info.preset, info.name, info.source) == ("lite-in-place", "Base", describe(base).id)
    made, kept = read_tensors(tmp_path / "out.safetensors"), read_tensors(base)
    assert all(made[name].dtype == value.dtype and torch.equal(made[name], value) for name, value in kept.items())
    assert {name for name in made.keys() - kept.keys() if not name.startswith("lower_face.")} == set()


def test_presets_without_such_a_network_are_refused(small: Config, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="no network for lower faces"):
        Trainer(changed(small, {"lower_face.steps": 1}), [faces], tmp_path, ALONE).train(["lower_face"])


def test_what_covers_a_face_is_learnt_alone(config: Config, faces: Path) -> None:
    torch.manual_seed(0)
    settings = {"only_cover": "true", "covers": 1.0, "learning_rate": 2e-3}
    alone = changed(config, {f"lower_face.{name}": value for name, value in settings.items()})
    store, models = ClipStore([faces], "train", ALONE.device, 4), Models(alone, 3)
    stage = make_stage("lower_face", models, alone, ALONE)
    before = {name: value.clone() for name, value in models.networks.state_dict().items()}
    batch = stage.sample(store, np.random.default_rng(0))
    told = []
    for _ in range(30):
        losses = stage.learn(batch, 0, True)
        told.append(float(losses["cover"]))
        stage.update(0)
    assert losses.keys() == {"cover", "total"} and told[-1] < 0.5 * told[0]
    after = models.networks.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("lower_face.cover.") for name in moved)


def test_the_picture_that_is_turned_most_alike_is_compared() -> None:
    pictures = torch.arange(6.0).view(2, 3, 1, 1, 1)
    angles = torch.tensor([[[-20.0, 0], [0, 0], [20, 10]], [[5, 5], [0, -9], [1, 1]]])
    chosen = turned_alike(pictures, angles, torch.tensor([[12.0, 6], [0, -5]]))
    assert chosen.flatten().tolist() == [2, 4]


def test_weights_whose_covers_were_seen_by_a_smaller_network_are_taken_over(tmp_path: Path) -> None:
    config = named("lite-in-place-cpu")
    state = dict(Models(config, 1).networks.state_dict())
    old = tmp_path / "old.safetensors"
    state["lower_face.cover.down.0.0.weight"] = state["lower_face.cover.down.0.0.weight"][:12]
    write_weights(old, state, "lite-in-place", "trained", "Old")
    models = Models(config, 1)
    fresh = models.networks.state_dict()["lower_face.cover.cover_head.weight"].clone()
    WarmStart(old, "lower_face").give(models)
    given = models.networks.state_dict()
    assert torch.equal(given["lower_face.paint_head.weight"], state["lower_face.paint_head.weight"])
    assert torch.equal(given["lower_face.cover.cover_head.weight"], fresh)
