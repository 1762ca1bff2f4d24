"""DAE-Talker's stages learn, resume bit for bit, keep their order, and leave pictures and curves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model_server.engines.speech_recogniser import SpeechRecogniser
from model_server.errors import PoseDubError
from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoder
from model_server.training import checkpoint as checkpoints
from model_server.training.dae_talker.beginning import Beginning
from model_server.training.dae_talker.config import PRESETS, STAGES, DaeConfig, StageName
from model_server.training.dae_talker.data import ActorStore, landmark_codes
from model_server.training.dae_talker.losses import moved, part_weights, parts_mask, psnr, standardized
from model_server.training.dae_talker.spoken_stage import changed_sound, readout, whitening_of
from model_server.training.dae_talker.stages import AutoencoderStage, spread_latents
from model_server.training.dae_talker.trainer import DaeTrainer
from model_server.training.distributed import ProcessGroup
from model_server.training.losses import correlation
from model_server.training.settings import changed
from model_server.training.timing import Limits
from tests.training.dae_talker.conftest import FRAMES, SIDE, actor_clip, drawn_actor

ALONE = ProcessGroup(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def trained(
    toy: DaeConfig, actor: Path, recogniser: SpeechRecogniser, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run whose stages have all taken two steps."""
    run = tmp_path_factory.mktemp("runs") / "toy"
    assert DaeTrainer(toy, [actor], run, ALONE, speech=recogniser.network).train()
    return run


def copied(run: Path, stages: tuple[StageName, ...], folder: Path, config: DaeConfig) -> Path:
    """A run that has finished so many stages of `run`, to go on with another one."""
    path = checkpoints.latest(run)
    assert path
    found = checkpoints.load(path)
    kept = {key: value for key, value in found.models.items() if key.split(".")[1] in stages}
    steps = {name: found.steps[name] for name in stages}
    checkpoints.save(folder, checkpoints.Checkpoint(config.digest(), stages[-1], steps, kept, {}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pictures", "autoencoder", "speech2latent", "student"])
def test_two_and_two_steps_are_four_steps(
    stage: StageName, toy: DaeConfig, trained: Path, actor: Path, recogniser: SpeechRecogniser, tmp_path: Path
) -> None:
    before = tuple(name for name in STAGES[: STAGES.index(stage)] if name != "latents")
    config = changed(toy, {f"{stage}.steps": 4, "pictures.critic_from": 0.3, "student.critic_from": 0.3})
    runs = [copied(trained, before, tmp_path / name, config) for name in ("whole", "parts")]
    assert DaeTrainer(config, [actor], runs[0], ALONE, speech=recogniser.network).train([stage])
    first = DaeTrainer(config, [actor], runs[1], ALONE, speech=recogniser.network)
    assert not first.train([stage], Limits(steps=2)) and first.steps[stage] == 2
    assert DaeTrainer(config, [actor], runs[1], ALONE, speech=recogniser.network).train([stage])
    ends = [checkpoints.load(path) for run in runs if (path := checkpoints.latest(run))]
    assert ends[0].steps == ends[1].steps and ends[0].models.keys() == ends[1].models.keys()
    assert all(torch.equal(value, ends[1].models[name]) for name, value in ends[0].models.items())
    assert str(ends[0].optimizers) == str(ends[1].optimizers)


def test_a_run_keeps_what_each_stage_hands_on(trained: Path, toy: DaeConfig) -> None:
    path = checkpoints.latest(trained)
    assert path
    found = checkpoints.load(path)
    assert {key.split(".")[0] for key in found.models} == {"averaged"}
    assert {key.split(".")[1] for key in found.models} == set(STAGES) - {"latents"}
    assert found.models["averaged.pictures.deviation"].std() > 0  # standardized at its end
    lines = [json.loads(line) for line in (trained / "losses.jsonl").read_text().splitlines()]
    told = {line["stage"]: line for line in lines}
    assert told["autoencoder"].keys() >= {"log_gradient_of_c", "unseen_psnr", "unseen_swapped_psnr", "gradient"}
    assert told["autoencoder"].keys() >= {"shapes", "unseen_drawn_lips_r", "unseen_drawn_lips_moved"}
    assert told["speech2latent"].keys() >= {"pose", "lips", "unseen_lips_r", "unseen_moved_yaw", "whitened"}
    with Image.open(trained / "samples" / "autoencoder-0000002.png") as picture:
        assert picture.size == (3 * SIDE, 6 * SIDE)


def test_stages_need_those_before_them(
    toy: DaeConfig, actor: Path, recogniser: SpeechRecogniser, trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(PoseDubError, match="needs the stage face"):
        DaeTrainer(toy, [actor], tmp_path / "a", ALONE).train(["pictures"])
    run = copied(trained, ("face", "pictures", "autoencoder"), tmp_path / "b", toy)
    with pytest.raises(PoseDubError, match="--recogniser"):
        DaeTrainer(toy, [actor], run, ALONE).train(["speech2latent"])
    with pytest.raises(PoseDubError, match="other settings"):
        DaeTrainer(changed(toy, {"start_seed": 5}), [actor], run, ALONE)


def test_the_small_autoencoder_learns_to_draw(toy: DaeConfig, actor: Path, tmp_path: Path) -> None:
    config = changed(toy, {"pictures.steps": 60, "pictures.batch": 8, "log_every": 30, "pictures.ema_decay": 0.9,
                           "pictures.critic_from": 1.0, "pictures.learning_rate": 4e-3})  # fmt: skip
    trainer = DaeTrainer(config, [actor], tmp_path, ALONE)
    assert trainer.train(["face", "pictures"])
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    first, *_, last = (line for line in lines if line["stage"] == "pictures")
    assert last["unseen_psnr"] > first["unseen_psnr"] + 1 and last["unseen_psnr"] > 17


def test_a_latent_that_says_nothing_stops_the_run(toy: DaeConfig, actor: Path, trained: Path, tmp_path: Path) -> None:
    config = changed(toy, {"autoencoder.steps": 4, "autoencoder.guard_steps": 2})
    run = copied(trained, ("face", "pictures"), tmp_path, config)
    trainer = DaeTrainer(config, [actor], run, ALONE)
    for network in (trainer.models.networks["autoencoder"], trainer.models.autoencoder):
        assert isinstance(network, DiffusionAutoencoder)
        network.encoder.requires_grad_(False)
        torch.nn.init.zeros_(network.encoder.out.weight)
    with pytest.raises(PoseDubError, match="whatever frame"):
        trainer.train(["autoencoder"])


def test_latents_of_one_actors_frames_begin_apart(toy: DaeConfig, actor: Path, trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = DiffusionAutoencoder(toy.size).encoder
    clean = torch.randn(1, 4, 8, 8) + 0.01 * torch.randn(100, 4, 8, 8)
    before = encoder(clean)
    spread_latents(encoder, clean)
    after = encoder(clean)
    assert before.std(0).max() < 0.01
    assert torch.allclose(after.mean(0), torch.zeros(16), atol=1e-2)
    assert torch.allclose(after.std(0), torch.ones(16), atol=1e-2)


def test_the_gradient_of_c_is_told(toy: DaeConfig, actor: Path, trained: Path, tmp_path: Path) -> None:
    config = changed(toy, {"autoencoder.steps": 6, "autoencoder.shapes": 0})  # shapes have a gradient from the first
    run = copied(trained, ("face", "pictures"), tmp_path, config)
    trainer = DaeTrainer(config, [actor], run, ALONE)
    assert trainer.train(["autoencoder"])
    last = json.loads((run / "losses.jsonl").read_text().splitlines()[-1])
    # The last convolutions begin at zero: c gets a gradient from the third step on.
    assert last["step"] == 6 and last["log_gradient_of_c"] > -9


def test_pictures_frames_and_sounds_belong_together(actor: Path) -> None:
    store = ActorStore([actor], "train", SIDE)
    assert len(store) == 3 * FRAMES and store.rows_of(1).tolist() == list(range(FRAMES, 2 * FRAMES))
    clip = actor_clip("clip1", 1)
    frames = store.frames(np.array([FRAMES + 7]))
    assert np.allclose(frames.angles[0], clip.angles[7])
    assert np.allclose(frames.landmarks[0], clip.landmarks[7] * 224 / SIDE)
    sound = store.sound(1, 7, 3)
    assert len(sound) == 1920
    assert np.corrcoef(sound, clip.samples[7 * 640 : 10 * 640])[0, 1] > 0.999
    assert not len(ActorStore([actor], "test", SIDE))


def test_corpora_that_do_not_fit_are_named(actor: Path) -> None:
    with pytest.raises(PoseDubError, match="--size 128"):
        ActorStore([actor], "train", 128)


def test_eyes_and_mouth_count_more() -> None:
    points = torch.from_numpy(actor_clip("x", 0).landmarks[:2]) * (224 / SIDE)
    mask = parts_mask(points, SIDE)
    x, y = (points[0, 48:].mean(0) * SIDE / 224).long().tolist()
    assert mask.shape == (2, 1, SIDE, SIDE) and mask[0, 0, y, x] == 1 and mask[0, 0, 0, 0] == 0
    weights = part_weights(points, SIDE, 3.0, 8)
    assert weights.shape == (2, 1, 8, 8) and torch.allclose(weights.mean((1, 2, 3)), torch.ones(2))
    assert weights[0, 0, y // 8, x // 8] > 1.5 * weights[0, 0, 0, 0]


def test_rare_openings_of_lips_may_be_drawn_as_often_as_others(actor: Path) -> None:
    store, rng = ActorStore([actor], "train", SIDE), np.random.default_rng(0)
    plain, even = (np.histogram(store.opening[store.draw_balanced(rng, 6000, part)], 4)[0] for part in (0.0, 1.0))
    assert plain.min() / plain.max() < 0.5 and even.min() / even.max() > 0.8


def test_shapes_of_parts_do_not_tell_where_the_head_is(actor: Path) -> None:
    store = ActorStore([actor], "train", SIDE)
    shapes, yaw = store.part_shapes, torch.from_numpy(store.angles[:, 0])
    assert shapes.shape == (len(store), 64) and float(shapes.view(-1, 32, 2)[:, 12:].mean(1).abs().max()) < 1e-5
    moving = shapes.std(0) > 1e-4
    correlations = [float(torch.corrcoef(torch.stack([column, yaw]))[0, 1]) for column in shapes[:, moving].T]
    assert moving.any() and max(map(abs, correlations)) < 0.5
    opened = shapes.view(-1, 32, 2)[:, 12 + 18, 1] - shapes.view(-1, 32, 2)[:, 12 + 14, 1]  # points 66 and 62
    assert torch.corrcoef(torch.stack([opened, torch.from_numpy(store.opening)]))[0, 1] > 0.99


def test_one_misread_frame_is_not_drawn_often(actor: Path) -> None:
    store, rng = ActorStore([actor], "train", SIDE), np.random.default_rng(0)
    store.opening = store.opening.copy()
    store.opening[7] = 40.0
    assert (store.draw_balanced(rng, 4000, 1.0) == 7).mean() < 0.02


def test_figures_of_lips_that_never_move_are_numbers() -> None:
    still, moving = torch.ones(9), torch.arange(9.0)
    assert correlation(still, moving) == 0 and moved(still, moving) == 0
    assert correlation(2 * moving, moving) == pytest.approx(1) and moved(2 * moving, moving) == pytest.approx(2)
    assert not standardized(torch.ones(1, 3)).any()  # one frame alone


def test_lips_are_not_judged_by_a_face_network_that_never_learnt(
    toy: DaeConfig, actor: Path, trained: Path, tmp_path: Path
) -> None:
    run = copied(trained, ("pictures",), tmp_path, toy)
    assert DaeTrainer(toy, [actor], run, ALONE).train(["autoencoder"])
    last = json.loads((run / "losses.jsonl").read_text().splitlines()[-1])
    assert "unseen_psnr" in last and "unseen_drawn_lips_r" not in last


def test_psnr_is_that_of_pixels() -> None:
    real = torch.zeros(2, 3, 8, 8)
    assert float(psnr(real + 0.2, real)) == pytest.approx(20.0, abs=1e-3)


def test_small_components_of_latents_count_as_much() -> None:
    torch.manual_seed(0)
    pose, lips = torch.randn(5000, 1), 0.3 * torch.randn(5000, 1)
    mixed = torch.cat([pose, lips, 0.0001 * torch.randn(5000, 2)], 1) @ torch.linalg.qr(torch.randn(4, 4))[0]
    whitened = (mixed - mixed.mean(0)) / mixed.std(0) @ whitening_of(mixed)
    assert sorted(whitened.std(0).round(decimals=1).tolist())[2:] == [1.0, 1.0] and whitened.std(0).min() < 0.1
    standard = (mixed - mixed.mean(0)) / mixed.std(0)
    told = (standard @ readout(mixed, lips))[:, 0]
    assert torch.corrcoef(torch.stack([told, lips[:, 0]]))[0, 1] > 0.95 and 0.9 < told.std() < 1.1


def test_changed_sound_keeps_its_times() -> None:
    sound = np.zeros(32000, np.float32)
    sound[16000:] = 0.1 * np.random.default_rng(0).standard_normal(16000)
    for seed in range(12):
        heard = changed_sound(sound, np.random.default_rng(seed), 1.0)
        assert heard.shape == sound.shape and heard.dtype == np.float32 and np.abs(heard).max() <= 1
        assert np.square(heard[16400:]).mean() > 2 * np.square(heard[:16000]).mean()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_sizes_that_they_name(name: str) -> None:
    config = PRESETS[name]
    assert config.resolution == int(name.split("-")[1]) if name[4].isdigit() else config.resolution == 128
    assert config.speech_size.latent == config.size.unet.latent
    assert ("pictures" in config.stages) == name.startswith("dae-cpu")


def test_a_run_begins_with_what_another_one_handed_on(
    toy: DaeConfig, actor: Path, trained: Path, recogniser: SpeechRecogniser, tmp_path: Path
) -> None:
    config = changed(toy, {"speech2latent.pose_adaptor": "false"})
    begin = Beginning(trained, "speech2latent")
    trainer = DaeTrainer(config, [actor], tmp_path, ALONE, speech=recogniser.network, begin=begin)
    assert trainer.steps.keys() == {"face", "pictures", "autoencoder"}
    first = DaeTrainer(toy, [actor], trained, ALONE).models.autoencoder
    same = zip(first.parameters(), trainer.models.autoencoder.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    before = trainer.models.speech2latent.pose_projection[0].weight.clone()
    assert trainer.train(["speech2latent"])
    assert torch.equal(trainer.models.speech2latent.pose_projection[0].weight, before)  # no pose reached it
    with pytest.raises(PoseDubError, match="no checkpoint"):
        DaeTrainer(config, [actor], tmp_path / "new", ALONE, begin=Beginning(tmp_path / "none", "student"))


def test_the_pose_predictor_is_trained_alone(
    toy: DaeConfig, actor: Path, trained: Path, recogniser: SpeechRecogniser, tmp_path: Path
) -> None:
    config = changed(toy, {"speech2latent.only_pose": "true"})
    begin = Beginning(trained, "speech2latent")
    trainer = DaeTrainer(config, [actor], tmp_path, ALONE, speech=recogniser.network, begin=begin)
    before = {name: value.clone() for name, value in trainer.models.speech2latent.named_parameters()}
    assert trainer.train(["speech2latent"])
    changed_ones = [
        name for name, value in trainer.models.speech2latent.named_parameters() if not torch.equal(value, before[name])
    ]
    assert changed_ones
    assert all(name.startswith("pose_predictor.") for name in changed_ones)


def test_landmarks_may_stand_in_for_latents(
    toy: DaeConfig, actor: Path, trained: Path, recogniser: SpeechRecogniser, tmp_path: Path
) -> None:
    config = changed(toy, {"autoencoder.codes": "landmarks", "pictures.steps": "50"})
    begin = Beginning(trained, "autoencoder")
    trainer = DaeTrainer(config, [actor], tmp_path, ALONE, speech=recogniser.network, begin=begin)
    assert trainer.steps["pictures"] == 50  # finished in fewer, and not trained further
    before = [value.clone() for value in trainer.models.networks["autoencoder"].encoder.parameters()]  # type: ignore[union-attr]
    assert trainer.train()
    after = trainer.models.networks["autoencoder"].encoder.parameters()  # type: ignore[union-attr]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    codes = landmark_codes(trainer.store, 16)
    assert torch.allclose(trainer.models.speech2latent.latent_mean, codes.mean(0), atol=1e-5)


def test_a_stage_judges_by_unseen_frames(toy: DaeConfig, actor: Path, trained: Path) -> None:
    trainer = DaeTrainer(toy, [actor], trained, ALONE)
    pictures = trainer.models.pictures
    assert pictures
    with torch.no_grad():
        clean = [pictures.encode(store.images(np.arange(len(store)))) for store in (trainer.store, trainer.unseen)]
        stage = AutoencoderStage(
            trainer.models, trainer.store, trainer.unseen, ALONE, clean=clean[0], unseen_clean=clean[1]
        )
        figures = stage.judge(0)
    assert (
        figures.keys() == {"psnr", "swapped_psnr", "drawn_lips_r", "drawn_lips_moved"}
        and np.isfinite(list(figures.values())).all()
    )
    assert drawn_actor(0, 0, 0) != drawn_actor(0, 1, 0)
