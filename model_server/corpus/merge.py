"""Joins corpora into one folder without reading a clip: shards are hard links where the disk allows, else copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model_server.corpus.shards import INDEX, Corpus, Dropped, Entry, Index, write_index
from model_server.errors import PoseDubError


def merge(sources: Sequence[Path], out: Path) -> Corpus:
    """Join corpora; each keeps its splits, and a clip that an earlier one has too is left out.

    Args:
        sources: folders of corpora.
        out: a new folder.

    Raises:
        PoseDubError: a source is no corpus, or `out` holds one already.
    """
    if (Path(out) / INDEX).exists():
        raise PoseDubError(f"The folder {out} already holds a corpus; choose another folder.")
    corpora = [Corpus.open(source) for source in sources]
    entries: dict[str, Entry] = {}
    dropped: list[Dropped] = []
    Path(out).mkdir(parents=True, exist_ok=True)
    for number, corpus in enumerate(corpora):
        dropped += corpus.index.dropped
        names = {shard: f"shard-{number:02}-{shard.removeprefix('shard-')}" for shard in _shards(corpus)}
        for shard, name in names.items():
            _link(corpus.folder / shard, Path(out) / name)
        for entry in corpus.entries:
            if entry.name in entries:
                dropped.append(Dropped(entry.name, "in an earlier corpus too"))
            else:
                entries[entry.name] = replace(entry, shard=names[entry.shard])
    settings = {"merged": [corpus.index.settings for corpus in corpora]}
    index = Index(tuple(entries.values()), tuple(dropped), settings)
    write_index(out, index)
    return Corpus(out, index)


def _shards(corpus: Corpus) -> list[str]:
    return sorted({entry.shard for entry in corpus.entries})


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)
