"""Photographs become clips that turn: labels, correspondences, silence; training takes them beside clips that speak."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from model_server.corpus.build import Shares, build
from model_server.corpus.pictures import decode_jpeg, flow_sheet
from model_server.corpus.portraits import SOURCES, Settings, plan
from model_server.corpus.shards import Clip, Corpus
from model_server.errors import PoseDubError
from model_server.networks.pcavs.warping import enlarged, warp
from model_server.training.distributed import ProcessGroup
from model_server.training.pcavs.config import named
from model_server.training.pcavs.data import ClipStore
from model_server.training.pcavs.generator_tasks import GeneratorTask
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.samplers import sample_pairs
from model_server.training.settings import changed
from tests.clips import INPUTS
from tests.training.conftest import write_corpus

CPU = ProcessGroup(0, 1, torch.device("cpu")).device


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("01", "03", "05"):
        shutil.copy(INPUTS / "stock" / f"{name}.jpg", folder)
    (folder / "empty.jpg").write_bytes(b"no picture")
    out = folder / "corpus"
    build(plan(folder, Settings(), Shares(0.0, 0.0)), out)
    return Corpus.open(out)


@pytest.fixture
def clip(corpus: Corpus) -> Clip:
    return corpus.clip("03")


def test_each_photograph_is_a_person_and_what_cannot_be_read_is_listed(corpus: Corpus) -> None:
    assert corpus.identities == ("01", "03", "05")
    assert [(item.source, item.reason) for item in corpus.index.dropped] == [("empty", "cannot be read")]


def test_the_last_frames_are_turned_most(clip: Clip) -> None:
    assert clip.frames == 8 and clip.angles is not None and clip.landmarks is not None
    turned = np.abs(clip.angles - clip.angles[0])[:, 0]
    assert (turned[-SOURCES:] > 6).all() and (turned[:-SOURCES] < 6).all()
    assert clip.flow_sources.tolist() == [6, 7] and np.isnan(clip.mel).all()
    assert np.ptp(clip.opening) < 0.05


def test_flow_leads_to_the_turned_frame(clip: Clip) -> None:
    still, moved, true = np.split(np.asarray(flow_sheet(clip, [0])).astype(float), 3, axis=1)
    seen = clip.visible[0, 0].repeat(4, 0).repeat(4, 1)
    face = np.zeros_like(seen)
    face[40:170, 60:165] = True
    assert np.abs(moved - true)[seen & face].mean() < 0.5 * np.abs(still - true)[seen & face].mean()
    assert 0 < (~clip.visible[0, :, 10:44, 8:48]).mean() < 0.3
    led = clip.flow[0, 0, 14, 22].astype(float)
    assert np.linalg.norm(led - [90, 58]) > 1  # an eye moves
    assert decode_jpeg(clip.jpegs[0]).shape == (224, 224, 3)


def test_its_relief_turns_the_source_to_where_the_target_is(corpus: Corpus) -> None:
    store = ClipStore([corpus.folder], "train", CPU, 8)
    clip = store[0]
    source = int(clip.sources()[0])
    turned = clip.turned(0, source)
    assert turned.shape == (2, 112, 112) and torch.isfinite(turned).all() and turned.abs().max() > 0.03
    portrait, target = (clip.frames([n]).images for n in (source, 0))
    face = (..., slice(40, 170), slice(60, 165))
    bent = warp(portrait, enlarged(turned[None], 224))
    still, moved = ((image - target)[face].abs().mean() for image in (portrait, bent))
    assert moved < 0.6 * still
    assert clip.turned(source, source).abs().max() < 1e-5


def test_some_portraits_are_drawn_as_if_no_relief_was_known(corpus: Corpus) -> None:
    store = ClipStore([corpus.folder], "train", CPU, 8)
    batches = [sample_pairs(store, 2, 2, np.random.default_rng(seed)) for seed in range(40)]
    flat = [bool(pairs.turned.isnan().any()) for pairs in batches]
    assert 0 < sum(flat) < 20
    pairs = batches[flat.index(False)]
    back = pairs.mirrored(torch.ones(1, dtype=torch.bool))
    assert torch.equal(back.turned[:, 0], -pairs.turned[:, 0].flip(2))
    assert torch.equal(back.turned[:, 1], pairs.turned[:, 1].flip(2))


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="no photographs"):
        plan(tmp_path, Settings(), Shares())


def test_the_mouth_of_a_photograph_is_read_off_it(corpus: Corpus, tmp_path: Path) -> None:
    """Nobody speaks in it, so its lips tell the generator what sound tells of other clips."""
    talking = write_corpus(tmp_path / "talking")
    store = ClipStore([corpus.folder, talking], "train", CPU, 8)
    without = {f"generator.{name}": 0.0 for name in ("contrastive", "perceptual", "lips", "likeness")}
    config = changed(named("lite"), {"generator.loss_size": 112, **without})
    torch.manual_seed(0)
    models = Models(config, len(store.classes)).eval()
    batches = (sample_pairs(store, 4, 1, np.random.default_rng(seed)) for seed in range(20))
    pairs = next(batch for batch in batches if 0 < batch.target.silent.sum() < 4)
    assert torch.isfinite(pairs.target.windows).all()
    with torch.no_grad():
        task = GeneratorTask(models, config)
        seen = models.networks.nonidentity_encoder(pairs.target.images)
        heard = models.networks.speech_encoder(pairs.target.windows)
        content = task._heard(heard, seen, pairs.target)
        total, losses, _ = task(pairs, 0, None)
    silent = pairs.target.silent
    assert torch.equal(content[~silent], heard[~silent]) and not torch.equal(content[silent], heard[silent])
    assert torch.isfinite(total) and float(losses["visibility"]) > 0
