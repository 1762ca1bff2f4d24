"""Shards become network views and labels in view pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model_server.corpus.shards import Corpus
from model_server.pipeline.faces.alignment import network_view
from model_server.training.pcavs.data import ClipStore, _labels, view_flow, view_visible
from model_server.training.pcavs.samplers import sample_chunks, sample_frames, sample_pairs
from tests.training.conftest import FRAMES

CPU = torch.device("cpu")


def store(folder: Path, split: str = "train") -> ClipStore:
    return ClipStore([folder], split, CPU, cached=4)


def test_views_are_those_of_the_pipeline(corpus: Path) -> None:
    import io

    from PIL import Image

    clip = Corpus.open(corpus).clip("clip0")
    crop = np.asarray(Image.open(io.BytesIO(clip.jpegs[3])).convert("RGB"))
    expected = torch.from_numpy(network_view(crop)).permute(2, 0, 1).float() / 127.5 - 1
    seen = store(corpus)[0].frames([3])
    assert (seen.images[0] - expected).abs().max() < 0.02


def test_labels_are_in_view_pixels_and_unknown_ones_nan(corpus: Path, unlabelled: Path) -> None:
    clip = Corpus.open(corpus).clip("clip0")
    frames = store(corpus)[0].frames([5])
    assert clip.landmarks is not None
    expected = (clip.landmarks[5] - [16, 0]) * 224 / 192
    np.testing.assert_allclose(frames.landmarks[0].numpy(), expected, atol=1e-3)
    other = store(unlabelled)[0].frames([5])
    assert torch.isnan(other.angles).all() and torch.isnan(other.landmarks).all() and torch.isnan(other.opening).all()
    assert torch.isnan(store(unlabelled)[0].flow(3, 0)).all()


def test_identities_of_other_splits_are_unknown_classes(corpus: Path) -> None:
    assert len(store(corpus).classes) == 3
    assert int(store(corpus, "val")[0].frames([0]).identity) < 0


def test_flow_finds_the_pixels_of_the_portrait(corpus: Path) -> None:
    from model_server.networks.pcavs.warping import enlarged, warp

    clip = store(corpus)[1]
    flow = enlarged(torch.nan_to_num(clip.flow(6, 0))[None], 224)
    target, portrait = (clip.frames([n]).images for n in (6, 0))
    middle = (slice(None), slice(None), slice(20, 110), slice(70, 150))
    before, after = ((image - target)[middle].abs().mean() for image in (portrait, warp(portrait, flow)))
    assert after < 0.6 * before


def test_hidden_points_of_the_flow_are_nan() -> None:
    centres = torch.arange(56) * 4.0 + 2
    places = torch.stack([centres.expand(56, 56), centres[:, None].expand(56, 56)], -1)
    visible = torch.ones(56, 56, dtype=torch.bool)
    visible[20, 30] = False
    flow = view_flow(places, visible)
    assert 1 <= torch.isnan(flow[0]).sum() <= 9
    assert torch.nan_to_num(flow).abs().max() < 1e-6


def test_mirrored_twice_is_the_batch_again(corpus: Path) -> None:
    pairs = sample_pairs(store(corpus), 4, 2, np.random.default_rng(1))
    all_rows = torch.ones(2, dtype=torch.bool)
    back = pairs.mirrored(all_rows).mirrored(all_rows)
    assert torch.equal(back.target.images, pairs.target.images)
    torch.testing.assert_close(back.target.landmarks, pairs.target.landmarks)
    assert torch.equal(torch.nan_to_num(back.flow), torch.nan_to_num(pairs.flow))
    assert torch.equal(pairs.mirrored(all_rows).target.angles[:, 0], -pairs.target.angles[:, 0])


def test_samplers_repeat_by_seed_and_keep_frames_in_order(corpus: Path) -> None:
    clips = store(corpus)
    first, again = (sample_frames(clips, 7, np.random.default_rng(3)) for _ in range(2))
    assert len(first) == 7 and torch.equal(first.images, again.images)
    chunks = sample_chunks(clips, 3, 10, np.random.default_rng(3))
    assert len(chunks) == 30
    known = [clips[n].labels.opening for n in range(len(clips))]
    runs = {tuple(values[s : s + 10].tolist()) for values in known for s in range(FRAMES - 9)}
    assert {tuple(chunk.tolist()) for chunk in chunks.opening.view(3, 10)} <= runs


def test_what_the_portrait_hides_is_known_but_not_beyond_its_border() -> None:
    centres = (torch.arange(56) + 0.5) * 4
    places = torch.stack([centres.expand(56, 56), centres[:, None].expand(56, 56)], -1)
    visible = torch.ones(56, 56, dtype=torch.bool)
    visible[20:30, 30:40] = False
    shown = view_visible(places, visible)
    assert shown.shape == (1, 56, 56) and shown.min() == 0 and shown.max() < 1.001
    assert (shown[0, 26:34, 33:40] == 0).all() and (shown[0, :20] > 0.999).all()  # cells of the view are larger
    beyond = view_visible(places + torch.tensor([60.0, 0.0]), visible)
    assert beyond[0, :, 40:].isnan().all() and torch.isfinite(beyond[0, :, :30]).all()


def test_near_frames_lend_each_other_their_mouths(corpus: Path) -> None:
    clip = store(corpus)[0]
    still = replace(clip.clip, landmarks=clip.clip.landmarks[:1].repeat(FRAMES, 0), angles=0 * clip.clip.angles)
    views = replace(clip, clip=still).other_mouths([3], np.random.default_rng(0))
    own = clip.frames([3]).images
    assert torch.equal(views[:, :, :88], own[:, :, :88]) and not torch.equal(views[:, :, 110:], own[:, :, 110:])
    turning = replace(still, angles=np.arange(3 * FRAMES, dtype=np.float32).reshape(-1, 3))
    assert torch.equal(replace(clip, clip=turning).other_mouths([3], np.random.default_rng(0)), own)


def test_lids_are_those_of_the_renders_or_told_by_the_landmarks(corpus: Path) -> None:
    clip = store(corpus)[0]
    assert torch.isfinite(clip.labels.lids).all() and clip.labels.lids.max() == 0  # drawn eyes do not move
    rendered = ClipStore([corpus], "train", CPU, 4)
    told = replace(rendered[0].clip, lids=np.linspace(0, 1, FRAMES, dtype=np.float32))
    assert _labels(told, 0, CPU).lids.tolist() == told.lids.tolist()
