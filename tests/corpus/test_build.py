"""A build can be broken off at any time, goes on without doing anything twice, and ends with the same corpus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from model_server.corpus.build import Made, Plan, Shares, build
from model_server.corpus.merge import merge
from model_server.corpus.shards import MAX_SHARD_BYTES, Corpus, Dropped
from model_server.errors import PoseDubError
from tests.corpus.makers import tiny_clip, tiny_corpus


@dataclass(frozen=True)
class Drawings:
    """Two clips per unit; unit 2 fails while the file `obstacle` exists, unit 1 drops something."""

    obstacle: Path
    copies: int = 1

    def __call__(self, unit: int) -> Made:
        if unit == 2 and self.obstacle.exists():
            raise PoseDubError("unit 2 is in the way")
        clips = [tiny_clip(f"p{unit}-{k}", f"p{unit}", 10 * unit + k) for k in range(2)]
        heavier = [replace(clip, jpegs=clip.jpegs, mel=clip.mel.repeat(self.copies, 0)) for clip in clips]
        return heavier, [Dropped("bad.mp4", "no face")] if unit == 1 else []


def plan(obstacle: Path, copies: int = 1) -> Plan:
    splits = Shares(0.25, 0.25).assign(f"p{k}" for k in range(4))
    return Plan(range(4), Drawings(obstacle, copies), lambda entry: splits[entry.identity], {"copies": copies})


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


def test_a_broken_off_build_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    with pytest.raises(PoseDubError, match="in the way"):
        build(plan(obstacle), tmp_path / "one")
    early = Corpus.open(tmp_path / "one")
    assert "p0-0" in early.names() and "p2-0" not in early.names()
    kept = {name: (tmp_path / "one" / name).stat().st_mtime_ns for name in shards(tmp_path / "one")}
    (tmp_path / "one" / ".shard-00003.safetensors.7.part").write_bytes(b"half")
    obstacle.unlink()
    build(plan(obstacle), tmp_path / "one")
    build(plan(obstacle), tmp_path / "other", workers=2)
    assert all((tmp_path / "one" / name).stat().st_mtime_ns == time for name, time in kept.items())
    assert shards(tmp_path / "one") == shards(tmp_path / "other") and len(shards(tmp_path / "one")) == 4
    assert Corpus.open(tmp_path / "one").index == Corpus.open(tmp_path / "other").index
    assert not list((tmp_path / "one").glob(".*"))


def test_index_counts_splits_and_names_what_was_dropped(tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    index = build(plan(tmp_path / "none"), tmp_path, progress=lambda *step: seen.append(step))
    assert seen[0] == (0, 4, 0) and seen[-1] == (4, 4, 96)
    assert index.dropped == (Dropped("bad.mp4", "no face"),)
    corpus = Corpus.open(tmp_path)
    assert sorted(len(corpus.names(split)) for split in ("train", "val", "test")) == [2, 2, 4]


def test_a_unit_too_large_for_a_shard_takes_several(tmp_path: Path) -> None:
    build(plan(tmp_path / "none", copies=1200), tmp_path)
    corpus = Corpus.open(tmp_path)
    assert corpus.entry("p3-1").shard == "shard-00003-1.safetensors"
    assert len(corpus.clip("p3-1").jpegs) == 12 and len(corpus.names()) == 8
    assert all(path.stat().st_size <= MAX_SHARD_BYTES for path in tmp_path.glob("shard-*"))


def test_other_settings_are_refused(tmp_path: Path) -> None:
    build(plan(tmp_path / "none"), tmp_path)
    with pytest.raises(PoseDubError, match="other settings"):
        build(plan(tmp_path / "none", copies=2), tmp_path)


def test_shares_are_spread_evenly() -> None:
    splits = Shares(0.0, 1 / 16).assign(f"{k:03}" for k in range(256))
    chosen = [int(name) for name, split in splits.items() if split == "test"]
    assert chosen == list(range(8, 256, 16)) and set(splits.values()) == {"train", "test"}
    assert set(Shares(0, 1).assign("abc").values()) == {"test"}
    assert sorted(Shares(0.01, 0.01).assign("abc").values()) == ["test", "train", "val"]


def test_merging_keeps_splits_and_leaves_copies_out(tmp_path: Path) -> None:
    first = Corpus.open(tiny_corpus(tmp_path / "first"))
    build(plan(tmp_path / "none"), tmp_path / "second")
    joined = merge([first.folder, tmp_path / "second", first.folder], tmp_path / "joined")
    assert len(joined.names()) == len(first.names()) + 8
    assert [item.reason for item in joined.index.dropped].count("in an earlier corpus too") == len(first.names())
    for name in (first.names()[3], "p3-0"):
        assert len(Corpus.open(tmp_path / "joined").clip(name).jpegs) == 12
    assert joined.entry("person03-0").split == "test"
    with pytest.raises(PoseDubError, match="already holds"):
        merge([first.folder], tmp_path / "joined")
