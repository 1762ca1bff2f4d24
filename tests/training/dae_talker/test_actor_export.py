"""A finished run becomes an actor's weights file that the engine draws from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model_server.cli.train import UNFINISHED
from model_server.engines.dae_talker import actor_file
from model_server.engines.dae_talker.actor_file import read_networks
from model_server.engines.dae_talker.weights import read_actor
from model_server.engines.shipped import DATA, FILE
from model_server.engines.speech_recogniser import SpeechRecogniser, save_recogniser
from model_server.engines.weights_file import describe, tensor_names
from model_server.errors import PoseDubError
from model_server.networks.dae_talker.speech2latent import Speech2Latent
from model_server.networks.dae_talker.speech_features import SpeechNetwork, reader_of
from model_server.networks.speech_recogniser.recogniser import Recogniser
from model_server.training.dae_talker import rescale
from model_server.training.dae_talker.beginning import Beginning
from model_server.training.dae_talker.config import PRESETS, DaeConfig
from model_server.training.dae_talker.data import ActorStore
from model_server.training.dae_talker.export import export_actor
from model_server.training.dae_talker.hearing import kept_recogniser
from model_server.training.dae_talker.rescale import encoded, lips_rescale, nods_rescale, pose_rescale
from model_server.training.dae_talker.spoken_stage import readout
from model_server.training.dae_talker.trainer import DaeTrainer
from model_server.training.settings import changed
from tests.recogniser.conftest import command
from tests.training.dae_talker.conftest import FRAMES, SIDE
from tests.training.dae_talker.test_actor_training import ALONE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(toy: DaeConfig, actor: Path, recogniser: SpeechRecogniser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "run"
    speech = kept_recogniser(folder, recogniser)
    assert DaeTrainer(toy, [actor], folder, ALONE, speech=speech).train()
    return folder


def test_the_file_draws_what_the_run_draws(run: Path, actor: Path, toy: DaeConfig, tmp_path: Path) -> None:
    speech = kept_recogniser(run, None)
    info = export_actor(run, [actor], speech, tmp_path / "actor.safetensors", "Drawn")
    networks, told = read_networks(info), read_actor(info)
    assert told.name == "Drawn" and told.resolution == SIDE and told.facts["steps"]["student"] == 2
    angles = ActorStore([actor], "train", SIDE).angles
    assert np.allclose([told.pose_low, told.pose_high], np.percentile(angles, (1, 99), axis=0))
    assert all(1 <= factor <= 2.5 for factor in told.pose_rescale)
    models = DaeTrainer(toy, [actor], run, ALONE, speech=speech).models
    latents = torch.randn(3, 16)
    with torch.no_grad():
        mine = models.decoded(models.student(latents))
        assert networks.student and networks.pictures
        assert torch.allclose(networks.pictures.decode(networks.student(latents)), mine, atol=0.02)
    assert torch.equal(networks.start_noise, models.start)


def test_small_files_hold_the_student_alone(run: Path, actor: Path, tmp_path: Path) -> None:
    whole, small = tmp_path / "whole.safetensors", tmp_path / "small.safetensors"
    told = ("--licence", "Footage: my own.", "Voices: CC0.")
    assert command("checkpoint", "export", run, "--corpus", actor, "--out", whole, *told) == 0
    assert read_actor(describe(whole)).licence == told[1:]
    assert command("checkpoint", "export", run, "--corpus", actor, "--out", small, "--student-only") == 0
    assert read_networks(describe(small)).autoencoder is None
    assert small.stat().st_size < whole.stat().st_size


def test_the_packages_actor_leaves_out_the_packages_recogniser(
    run: Path, actor: Path, recogniser: SpeechRecogniser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears, other = tmp_path / "ears.safetensors", tmp_path / "other.safetensors"
    save_recogniser(recogniser.network, recogniser.units, {}, ears)
    save_recogniser(Recogniser(recogniser.network.size), recogniser.units, {}, other)
    speech, file = kept_recogniser(run, None), tmp_path / "actor.safetensors"
    monkeypatch.setattr(actor_file, "shipped_recogniser", lambda: other)
    with pytest.raises(PoseDubError, match="another speech recogniser than the package's"):
        exported_names(run, actor, speech, file)
    monkeypatch.setattr(actor_file, "shipped_recogniser", lambda: ears)
    assert not any(name.startswith("speech.") for name in exported_names(run, actor, speech, file))
    assert speech
    heard = read_networks(describe(file)).speech.state_dict()
    assert all(torch.equal(heard[name], value) for name, value in speech.state_dict().items())
    monkeypatch.setattr(actor_file, "shipped_recogniser", lambda: other)
    with pytest.raises(PoseDubError, match="another version"):
        read_networks(describe(file))


def exported_names(run: Path, actor: Path, speech: SpeechNetwork | None, file: Path) -> frozenset[str]:
    return tensor_names(export_actor(run, [actor], speech, file, "Drawn", built_in=True).path or file)


def test_an_actor_is_trained_further(run: Path, actor: Path, toy: DaeConfig, tmp_path: Path) -> None:
    speech = kept_recogniser(run, None)
    file = tmp_path / "actor.safetensors"
    networks = read_networks(export_actor(run, [actor], speech, file, "Drawn"))
    begin = Beginning(file, "autoencoder")
    trainer = DaeTrainer(toy, [actor], tmp_path / "further", ALONE, speech=speech, begin=begin)
    assert trainer.steps == {"pictures": toy.pictures.steps}
    given = trainer.models.networks["autoencoder"].encoder.out.weight.clone()  # type: ignore[union-attr]
    assert networks.autoencoder and torch.equal(given, networks.autoencoder.encoder.out.weight)
    with pytest.raises(PoseDubError, match="stage face"):
        trainer.train(["autoencoder", "speech2latent", "student"])
    learnt = trainer.models.networks["autoencoder"].encoder.out.weight  # type: ignore[union-attr]
    assert not torch.equal(learnt, given)
    assert torch.allclose(learnt, given, atol=0.01)  # it was not made ready as a new one is
    again = DaeTrainer(toy, [actor], tmp_path / "further", ALONE, speech=speech, begin=begin)
    assert again.steps == dict.fromkeys(("pictures", "autoencoder", "speech2latent"), 2)
    constant = again.models.networks["student"].constant  # type: ignore[union-attr]
    assert networks.student and torch.equal(constant, networks.student.constant)  # not come to yet
    assert again.train(["face", "student"])
    assert not torch.equal(constant, networks.student.constant)


def test_only_an_actor_of_the_same_sizes_is_trained_further(
    run: Path, actor: Path, toy: DaeConfig, tmp_path: Path
) -> None:
    speech = kept_recogniser(run, None)
    file = tmp_path / "actor.safetensors"
    export_actor(run, [actor], speech, file, "Drawn")
    wide = changed(toy, {"student.width": "16"})
    with pytest.raises(PoseDubError, match="other sizes"):
        DaeTrainer(wide, [actor], tmp_path / "wide", ALONE, speech=speech, begin=Beginning(file, "student"))
    portraits = DATA / FILE
    with pytest.raises(PoseDubError, match="no actor"):
        DaeTrainer(toy, [actor], tmp_path / "lite", ALONE, speech=speech, begin=Beginning(portraits, "student"))


def test_what_an_export_lacks_is_named(run: Path, actor: Path, toy: DaeConfig, tmp_path: Path) -> None:
    speech = kept_recogniser(run, None)
    with pytest.raises(PoseDubError, match="--corpus"):
        export_actor(run, [], speech, tmp_path / "x.safetensors", "x")
    with pytest.raises(PoseDubError, match="--recogniser"):
        export_actor(run, [actor], None, tmp_path / "x.safetensors", "x")
    begun = tmp_path / "begun"
    assert DaeTrainer(toy, [actor], begun, ALONE).train(["face", "pictures"])
    with pytest.raises(PoseDubError, match="stage autoencoder"):
        export_actor(begun, [actor], speech, tmp_path / "x.safetensors", "x")


def test_nods_go_as_far_as_in_the_footage(run: Path, actor: Path, toy: DaeConfig) -> None:
    speech = kept_recogniser(run, None)
    network = DaeTrainer(toy, [actor], run, ALONE, speech=speech).models.speech2latent
    store = ActorStore([actor], "val", SIDE)
    heard = reader_of(speech).read(torch.from_numpy(store.sound(0, 0, FRAMES))[None])

    def told() -> torch.Tensor:
        return network.predicted_pose(heard, FRAMES)

    with torch.no_grad():
        before, factors = told(), nods_rescale(network, speech, store)
        assert factors[0] == 2.5 and all(1 <= factor <= 2.5 for factor in factors)  # hardly trained: hardly any
        torch.testing.assert_close(told(), before * torch.tensor(factors))
    assert nods_rescale(network, speech, ActorStore([actor], "test", SIDE)) == (1.0, 1.0, 1.0)


def test_shrunk_poses_are_measured(run: Path, actor: Path, toy: DaeConfig) -> None:
    speech = kept_recogniser(run, None)
    network = DaeTrainer(toy, [actor], run, ALONE, speech=speech).models.speech2latent
    assert isinstance(network, Speech2Latent)
    store = ActorStore([actor], "val", SIDE)
    assert pose_rescale(network, speech, store)[:2] == (2.5, 2.5)  # hardly trained: hardly any movement
    assert pose_rescale(network, speech, ActorStore([actor], "test", SIDE)) == (1.0, 1.0, 1.0)


def test_lips_go_farther_where_they_are_drawn_too_still(
    run: Path, actor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = export_actor(run, [actor], kept_recogniser(run, None), tmp_path / "actor.safetensors", "Drawn")
    networks = read_networks(info)
    known, unseen = (ActorStore([actor], split, SIDE) for split in ("train", "val"))
    network, rows = networks.speech2latent, np.linspace(0, len(known) - 1, len(known)).astype(int)
    latents = (encoded(networks, known, rows) - network.latent_mean) / network.latent_deviation
    course = readout(latents, torch.from_numpy(known.opening)[:, None])[:, 0] / network.latent_deviation

    def lips_follow(_networks: object, windows: list[tuple[np.ndarray, torch.Tensor]]) -> float:
        """Stands in for the mesh, which sees no lips in a toy's pictures: drawn lips go two thirds as far as told."""
        return 2 / 3 * float((windows[0][1] @ course).std()) / told

    plain = spoken(network, networks.speech, unseen)
    told = float((plain @ course).std())
    monkeypatch.setattr(rescale, "_lips_moved", lips_follow)

    assert lips_rescale(networks, known, unseen) == pytest.approx(1.5, abs=0.05)

    moved = spoken(network, networks.speech, unseen)
    assert float((moved @ course).std()) / told == pytest.approx(1.5, abs=0.05)
    assert lips_rescale(networks, known, unseen) == pytest.approx(1.0, abs=0.05)


def test_lips_that_are_not_seen_stay_as_they_are(run: Path, actor: Path, tmp_path: Path) -> None:
    info = export_actor(run, [actor], kept_recogniser(run, None), tmp_path / "actor.safetensors", "Drawn")
    assert read_actor(info).facts["lips_rescale"] == 1.0  # the mesh finds no face in a toy's pictures


def spoken(network: Speech2Latent, speech: SpeechNetwork, store: ActorStore) -> torch.Tensor:
    """Latents (frames, latent) told of a store's first clip."""
    rows = store.rows_of(0)
    sound = torch.from_numpy(store.sound(0, 0, len(rows)))[None]
    with torch.no_grad():
        return network.speak(reader_of(speech).read(sound), len(rows)).latent[0]


def test_one_command_trains_and_keeps_what_it_hears_with(
    actor: Path, toy: DaeConfig, recogniser: SpeechRecogniser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "dae-cpu", toy)
    ears, run = tmp_path / "ears.safetensors", tmp_path / "run"
    save_recogniser(recogniser.network, recogniser.units, recogniser.facts, ears)
    train = ["train", "--preset", "dae-cpu", "--corpus", actor, "--out", run]
    assert command(*train, "--max-minutes", "0.001") == UNFINISHED
    for stage in ("face", "pictures", "autoencoder", "latents"):
        assert command(*train, "--stage", stage) == 0
    with pytest.raises(PoseDubError, match="--recogniser"):
        command(*train, "--stage", "speech2latent")
    assert command(*train, "--stage", "speech2latent", "--recogniser", ears) == 0
    assert command(*train) == 0
    assert (run / "recogniser.safetensors").is_file()
    with pytest.raises(PoseDubError, match="dae-cpu"):
        command("train", "--preset", "lite", "--stage", "pictures", "--corpus", actor, "--out", run)
