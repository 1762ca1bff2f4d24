"""Lips that follow the sound are learnt from it, of filmed and of rendered people; what keeps no sound is named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_server.cli.main import parser
from model_server.corpus.actor.clips import is_actor_corpus
from model_server.corpus.shards import Corpus, Entry, Index, write_index, write_shard
from model_server.corpus.speech.clips import encoded_sound
from model_server.engines.shipped import shipped_weights
from model_server.engines.weights_file import read_tensors
from model_server.errors import PoseDubError
from model_server.networks.pcavs.presets import OPTIONAL_PARTS
from model_server.training.pcavs.lip_shape_fit import Take, fit_lip_shape, takes_of
from tests.corpus.makers import tiny_clip

FRAMES, SIZE = 60, 16000 // 25
SHARD = "shard-00000.safetensors"


def swelling(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A hum that comes and goes, and lips (n, 68, 2) that are open while it sounds."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.random(FRAMES // 5) > 0.5, 5).astype(float)
    times = np.arange(FRAMES * SIZE) / 16000
    hum = sum(np.sin(2 * np.pi * 140 * k * times) / k for k in range(1, 12))
    samples = 0.2 * np.repeat(loud, SIZE) * hum + 0.002 * rng.standard_normal(len(times))
    marks = np.zeros((FRAMES, 68, 2), np.float32)
    marks[:, 36], marks[:, 45], marks[:, 33], marks[:, 8] = (62, 90), (162, 90), (112, 130), (112, 200)
    marks[:, 48], marks[:, 54], marks[:, 51], marks[:, 57] = (90, 160), (134, 160), (112, 155), (112, 168)
    marks[:, 62] = marks[:, 66] = (112, 160)
    marks[:, (66, 57, 8), 1] += 12 * loud[:, None]
    return samples.astype(np.float32), marks


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filmed and rendered clips, one of each kept to judge by."""
    folder = tmp_path_factory.mktemp("loud")
    clips = []
    for number in range(8):
        sound, marks = swelling(number)
        clip = tiny_clip(f"clip{number}", f"person{number}", number, FRAMES)
        clips.append(replace(clip, source=("footage", "synthetic")[number % 2], landmarks=marks,
                             angles=np.zeros((FRAMES, 3), np.float32), sound=encoded_sound(sound)))  # fmt: skip
    write_shard(folder / SHARD, clips)
    splits = ["train"] * 6 + ["val"] * 2
    entries = [Entry(c.name, c.identity, c.source, FRAMES, SHARD, s) for c, s in zip(clips, splits, strict=True)]
    write_index(folder, Index(tuple(entries)))
    return folder


def test_sounds_come_back_and_make_no_actor_of_a_clip(corpus: Path) -> None:
    opened = Corpus.open(corpus)
    takes = takes_of([corpus], "train")
    assert [take.rendered for take in takes] == [False, True] * 3 and not is_actor_corpus(opened)
    np.testing.assert_allclose(takes[2].samples, swelling(2)[0], atol=1e-4)
    assert takes[0].shapes.shape == (FRAMES, 4) and takes[0].shapes[:, 0].max() > 3


def test_lips_that_follow_a_sound_are_learnt_and_kept(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = shipped_weights()
    assert weights and weights.path
    copy, before = tmp_path / "w.safetensors", read_tensors(weights.path)
    copy.write_bytes(weights.path.read_bytes())
    options = parser().parse_args(["weights", "lips", str(corpus), "--weights", str(copy), "--steps", "60", "--keep"])
    assert options.run(options) == 0
    told = capsys.readouterr().out.splitlines()[0]
    filmed, rendered = map(float, re.findall(r"r (\d\.\d\d)", told))
    assert filmed > 0.7 and rendered > 0.7, told
    after, prefix = read_tensors(copy), OPTIONAL_PARTS["lip_shape"]
    changed = {name for name in after if name not in before or not after[name].equal(before[name])}
    assert changed and all(name.startswith(prefix) for name in changed)


def test_a_corpus_without_sound_is_named(tmp_path: Path) -> None:
    clip = tiny_clip("mute", "ann", 0)
    write_shard(tmp_path / SHARD, [clip])
    write_index(tmp_path, Index((Entry(clip.name, clip.identity, clip.source, len(clip.jpegs), SHARD, "train"),)))
    with pytest.raises(PoseDubError, match="keeps no sound beside its faces; build it again"):
        takes_of([tmp_path], "train")
    assert takes_of([tmp_path], "val") == []


def test_short_clips_are_refused_before_anything_is_heard() -> None:
    short = Take("short", False, np.zeros(25 * SIZE, np.float32), np.zeros((25, 4), np.float32))
    with pytest.raises(PoseDubError, match="more than 50 frames"):
        fit_lip_shape(None, "", [short], [])
