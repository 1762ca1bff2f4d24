"""What is written to a corpus comes back, and what is broken is named."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server.corpus.shards import Corpus, read_content, shard_bytes, windows, write_shard
from model_server.errors import PoseDubError
from tests.corpus.makers import tiny_clip, tiny_corpus


def test_clips_come_back_as_they_were(tmp_path: Path) -> None:
    corpus = Corpus.open(tiny_corpus(tmp_path))
    kept, made = corpus.clip("person02-1"), tiny_clip("person02-1", "person02", 201)
    for field in dataclasses.fields(kept):
        value, expected = getattr(kept, field.name), getattr(made, field.name)
        if field.name == "flow":
            assert np.abs(value.astype(float) - expected).max() <= 1 / 8
        elif isinstance(value, np.ndarray):
            assert value.dtype == expected.dtype and (value == expected).all(), field.name
        else:
            assert value == expected, field.name
    assert Image.open(io.BytesIO(kept.jpegs[0])).size == (224, 224)


def test_splits_part_the_identities(tmp_path: Path) -> None:
    corpus = Corpus.open(tiny_corpus(tmp_path))
    by_split = {
        split: {corpus.entry(name).identity for name in corpus.names(split)} for split in ("train", "val", "test")
    }
    assert sum(len(people) for people in by_split.values()) == len(corpus.identities) == 6
    assert len(corpus.names()) == 12


def test_labels_may_be_missing(tmp_path: Path) -> None:
    clip = tiny_clip("a", "b", 0)
    bare = dataclasses.replace(clip, angles=None, visemes=None, flow=None, visible=None, flow_sources=None)
    write_shard(tmp_path / "shard-00000.safetensors", [bare])
    corpus = Corpus(tmp_path, dataclasses.replace(Corpus.open(tiny_corpus(tmp_path / "x")).index))
    content = read_content(tmp_path / "shard-00000.safetensors")
    kept = Corpus(tmp_path, dataclasses.replace(corpus.index, clips=content.clips)).clip("a")
    assert kept.angles is None and kept.flow is None and (kept.landmarks == clip.landmarks).all()


def test_windows_are_rows_around_the_frame_with_zeros_outside() -> None:
    clip = dataclasses.replace(tiny_clip("a", "b", 0), mel=np.arange(1, 57)[:, None].repeat(80, 1).astype(np.float16))
    first, third, last = windows(clip, [0, 3, 11])
    assert first.shape == (80, 20) and (first[0, :8] == 0).all() and first[0, 8:].tolist() == list(range(1, 13))
    assert third[5].tolist() == list(range(5, 25))
    assert last[0, -1] == 56 and (windows(clip, [30]) == 0).all()


def test_a_shard_over_16_mib_is_refused_and_a_broken_one_named(tmp_path: Path) -> None:
    clip = tiny_clip("a", "b", 0)
    heavy = dataclasses.replace(clip, jpegs=clip.jpegs * 300)
    assert shard_bytes(heavy) > 16 << 20
    with pytest.raises(PoseDubError, match="fewer frames"):
        write_shard(tmp_path / "shard-00000.safetensors", [heavy])
    assert not list(tmp_path.iterdir())
    (tmp_path / "shard-00001.safetensors").write_bytes(b"nothing")
    with pytest.raises(PoseDubError, match="shard-00001"):
        read_content(tmp_path / "shard-00001.safetensors")


def test_sizes_are_foretold(tmp_path: Path) -> None:
    clip = tiny_clip("a", "b", 0)
    write_shard(tmp_path / "s.safetensors", [clip])
    size = (tmp_path / "s.safetensors").stat().st_size
    assert size <= shard_bytes(clip) < 1.1 * size + 4000
