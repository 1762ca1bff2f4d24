"""Figures of an actor's own movement, at courses whose values are known, and its films from weights of toys."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model_server.cli.main import main
from model_server.engines.dae_talker.actor_file import read_networks, write_actor
from model_server.engines.dae_talker.engine import DaeTalkerEngine
from model_server.engines.dae_talker.untrained import write_untrained
from model_server.engines.weights import describe, load_engine
from model_server.errors import PoseDubError
from model_server.evaluation.actor_clips import ActorTake
from model_server.evaluation.actor_films import ActorFilms
from model_server.evaluation.actor_movement import (
    Figure,
    aligned_beats,
    as_table,
    beat_alignment,
    flicker,
    motion_beats,
    sound_onsets,
)
from model_server.evaluation.actor_reconstruction import reconstruction
from model_server.training.dae_talker.losses import psnr
from tests.training.dae_talker.conftest import actor_clip, write_corpus


def syllables(times: list[float], seconds: float = 6.0) -> np.ndarray:
    sound = 1e-4 * np.random.default_rng(0).standard_normal(int(seconds * 16000))
    for t in times:
        start = int(t * 16000)
        sound[start : start + 3200] += 0.2 * np.sin(np.arange(3200))
    return sound.astype(np.float32)


def nods(times: list[float], frames: int = 150) -> np.ndarray:
    """A head that stands still about these times only."""
    now = np.arange(frames) / 25
    moving = np.ones(frames)
    for t in times:
        moving *= 1 - np.exp(-(((now - t) / 0.15) ** 2))
    pitch = np.cumsum(moving * np.where((now * 0.7).astype(int) % 2, 1, -1)) * 0.4
    return np.stack([0 * pitch, pitch, 0 * pitch], 1)


def test_onsets_are_where_loudness_rises() -> None:
    times = [0.5, 1.3, 2.2, 4.0]
    assert np.allclose(sound_onsets(syllables(times)) / 25, times, atol=0.05)
    assert not len(sound_onsets(np.zeros(16000, np.float32)))


def test_a_head_that_moves_with_the_voice_is_better_aligned() -> None:
    times = [0.5, 1.3, 2.2, 4.0, 5.1]
    beats, onsets = motion_beats(nods(times)), sound_onsets(syllables(times))
    other = sound_onsets(syllables([t + 0.4 for t in times]))
    assert beat_alignment(beats, onsets) > beat_alignment(beats, other) + 0.1
    assert beat_alignment(onsets, onsets) == 1.0
    assert np.isnan(beat_alignment(np.zeros(0), onsets))
    assert not len(motion_beats(np.full((30, 3), np.nan)))


def test_beats_of_several_clips_stand_beside_those_of_other_sounds() -> None:
    rng = np.random.default_rng(0)
    times = [np.cumsum(rng.uniform(0.5, 1.1, 6)).tolist() for _ in range(5)]
    moved, onsets = [nods(each) for each in times], [sound_onsets(syllables(each)) for each in times]
    values = aligned_beats("beats", moved, moved[1:] + moved[:1], onsets).values
    assert values["made"] > values["made, other sound"] + 2 * values["made, standard error of the difference"]
    assert values["true"] < values["made"]  # here the truth moves to another sound
    assert aligned_beats("beats", moved[:1], moved[:1], onsets[:1]).values.keys() == {"made", "true"}


def test_only_the_background_flickers() -> None:
    frames = np.full((10, 224, 224, 3), 100, np.uint8)
    frames[::2, 100:140, 80:140] = 200  # a mouth
    assert flicker([frames[:4], frames[4:]]) == 0
    frames[::2, :20] += 4
    assert flicker([frames]) == pytest.approx(2 * 20 / 26, rel=0.01)


def test_figures_are_told_with_their_definitions() -> None:
    table = as_table([Figure("flicker", {"made": 0.5}, "What it is.")])
    assert "| flicker | made 0.5 | What it is. |" in table


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> ActorFilms:
    path = write_untrained(tmp_path_factory.mktemp("actor") / "toy.safetensors")
    engine = load_engine(describe(path), "cpu")
    assert isinstance(engine, DaeTalkerEngine)
    return ActorFilms(engine)


@pytest.fixture(scope="module")
def take() -> ActorTake:
    return ActorTake(actor_clip("take", 3), 40)


def test_takes_of_an_actors_corpus_keep_their_sound(take: ActorTake) -> None:
    assert take.count == 40 and take.views(38, 50).shape == (2, 224, 224, 3)
    assert np.array_equal(take.samples(-640, 1280)[640:], take.sound[:1280]) and not take.samples(-640, 0).any()
    assert not take.samples(39 * 640, 41 * 640)[640:].any()
    assert take.windows([0, 39]).shape == (2, 80, 20) and take.windows([20]).max() > 0.3


def test_films_hold_the_poses_that_are_asked(films: ActorFilms, take: ActorTake) -> None:
    straight = np.concatenate(list(films.frontal(take, 4)))
    poses = np.zeros((40, 3), np.float32)
    assert np.array_equal(np.concatenate(list(films.film(take, poses)))[[0, 13, 26, 39]], straight)
    poses[:, 0] = 12
    assert not np.array_equal(np.concatenate(list(films.film(take, poses)))[[0, 13, 26, 39]], straight)


def test_an_actor_held_still_does_not_move(films: ActorFilms, take: ActorTake) -> None:
    assert films.spoken_poses(take).std(axis=0).max() > 0
    assert replace(films, gain=0.0).spoken_poses(take).std(axis=0).max() < 1e-5
    assert len(np.concatenate(list(films.spoken(take, 10)))) == 10
    told = [films.told_poses(take, seed) for seed in (0, 0, 1, 2)]
    assert np.array_equal(told[0], told[1]) and told[2].shape == (40, 3)


def test_noise_of_its_own_for_each_frame_flickers(films: ActorFilms, take: ActorTake) -> None:
    still = replace(films, gain=0.0, steps=4)
    assert flicker(replace(still, shared=False).spoken(take, 20)) > flicker(still.spoken(take, 20))


def test_an_actors_unseen_frames_are_drawn_without_speech(films: ActorFilms, take: ActorTake, tmp_path: Path) -> None:
    networks, pictures = read_networks(films.engine.weights), take.pictures([0, 9, 20, 39])
    figures = {figure.title: figure.values for figure in reconstruction(networks, pictures, [1, 4])}
    assert figures["reconstruction"].keys() == {"1 steps", "4 steps"}
    real = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert networks.pictures
    with torch.no_grad():
        assert figures["pictures"]["made"] == pytest.approx(float(psnr(networks.pictures(real), real)), abs=1e-3)
    assert all(5 < value <= 100 for figure in figures.values() for value in figure.values())
    white = torch.ones(2, 3, 8, 8)
    assert psnr(real, real) == 100 and float(psnr(0.9 * white, white)) == pytest.approx(26.02, 1e-3)
    with pytest.raises(PoseDubError, match="student-only"):
        reconstruction(replace(networks, autoencoder=None), pictures, [1])


def test_an_actors_own_corpus_tells_how_well_it_is_drawn(films: ActorFilms, tmp_path: Path) -> None:
    corpus, weights = write_corpus(tmp_path / "corpus"), str(films.engine.weights.path)
    command = ["evaluate", str(corpus), "--split", "val", "--weights", weights, "--max-frames", "12"]
    assert main([*command, "--out", str(tmp_path / "own")]) == 0
    document = json.loads((tmp_path / "own.json").read_text())
    assert document["reconstruction"]["toy"].keys() >= {"reconstruction", "swapped", "student", "inversion"}
    assert "unseen frames drawn of their own latents" in (tmp_path / "own.md").read_text()


def test_an_actor_of_landmarks_has_no_latents_of_frames(films: ActorFilms, tmp_path: Path) -> None:
    corpus, weights = write_corpus(tmp_path / "corpus"), tmp_path / "points.safetensors"
    by_landmarks = replace(films.actor, facts={"config": {"autoencoder": {"codes": "landmarks"}}})
    write_actor(weights, read_networks(films.engine.weights), by_landmarks, "toy", "untrained")
    command = ["evaluate", str(corpus), "--split", "val", "--weights", str(weights), "--max-frames", "12"]
    assert main([*command, "--out", str(tmp_path / "own")]) == 0
    document = json.loads((tmp_path / "own.json").read_text())
    assert document["movement"].keys() == {"points, 1 step"} and "reconstruction" not in document


def test_actors_stand_beside_pcavs_in_one_table(footage: Path, films: ActorFilms, tmp_path: Path) -> None:
    assert films.engine.weights.path
    files = [str(films.engine.weights.path), "--steps", "1", "4", "--max-frames", "12"]
    command = ["evaluate", str(footage), "--limit", "1", "--weights", *files, "--pose-source", "frozen"]
    assert main([*command, "--out", str(tmp_path / "figures")]) == 0
    document = json.loads((tmp_path / "figures.json").read_text())
    assert document["methods"].keys() >= {"true frames", "toy, 1 step", "toy, 4 steps"}
    assert 0 < document["methods"]["toy, 4 steps"]["figures"]["ssim"] < 1
    flickers = document["movement"]["toy, 4 steps"]["flicker"]
    assert flickers["4 steps, own noise for each frame"] > flickers["4 steps"]
    assert document["movement"]["toy, 1 step"]["diversity"].keys() == {"yaw", "pitch", "roll"}
    assert "## toy, 1 step: movement of its own" in (tmp_path / "figures.md").read_text()
