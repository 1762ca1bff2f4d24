"""The speech recogniser that a command is given, and its figures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.cli import progress
from model_server.errors import PoseDubError

if TYPE_CHECKING:
    from model_server.corpus.shards import Corpus, Entry
    from model_server.engines.speech_recogniser import SpeechRecogniser
    from model_server.evaluation.speech_recognition import Tally


def chosen_recogniser(path: Path | None) -> SpeechRecogniser:
    """The recogniser of a weights file or of a run."""
    from model_server.engines.speech_recogniser import load_recogniser
    from model_server.training.recogniser.export import trained_recogniser

    if path is None:
        raise PoseDubError("Give --recogniser, the weights of a speech recogniser or the folder of its training.")
    return trained_recogniser(path) if path.is_dir() else load_recogniser(path)


def evaluate(options: argparse.Namespace) -> str:
    """Tables of phoneme errors and of the aligner's times on the corpora that are given."""
    import numpy as np
    from tqdm import tqdm

    from model_server.evaluation.speech_recognition import phoneme_errors, start_errors

    recogniser = chosen_recogniser(options.recogniser)
    clips = _clips(options)
    with tqdm(total=len(clips), unit="clip", file=progress.stream()) as bar:
        tallies = phoneme_errors(recogniser, clips, bar.update)
    errors = 1000 * start_errors(recogniser, clips)
    lines = [f"Speech recogniser of {recogniser.facts.get('steps', '?')} steps", "", *_table(tallies)]
    if len(errors):
        middle, most = np.percentile(errors, (50, 95))
        lines += ["", f"Starts of {len(errors)} phonemes of known times: median {middle:.0f} ms, 95 % {most:.0f} ms"]
    return "\n".join(lines) + "\n"


def _table(tallies: dict[str, dict[str, Tally]]) -> list[str]:
    names = list(next(iter(tallies.values()), {}))
    lines = [
        f"| phoneme error rate, % | clips | speakers | {' | '.join(names)} | real-time factor |",
        f"|---|---|---|{'---|' * (len(names) + 1)}",
    ]
    for group, by_condition in tallies.items():
        first = by_condition[names[0]]
        rates = " | ".join(f"{100 * by_condition[name].error_rate:.1f}" for name in names)
        lines.append(f"| {group} | {first.clips} | {len(first.speakers)} | {rates} | {first.real_time_factor:.3f} |")
    return lines


def _clips(options: argparse.Namespace) -> list[tuple[Corpus, Entry]]:
    """Clips of the split, at most `limit` of each collection, spread over it."""
    from model_server.corpus.shards import Corpus

    found: dict[str, list[tuple[Corpus, Entry]]] = {}
    for folder in options.sources:
        corpus = Corpus.open(folder)
        for name in corpus.names(None if options.split == "all" else options.split):
            entry = corpus.entry(name)
            found.setdefault(entry.source, []).append((corpus, entry))
    limit = options.limit or sys.maxsize
    spread = (
        [part[k * len(part) // limit] for k in range(limit)] if limit < len(part) else part for part in found.values()
    )
    return [clip for part in spread for clip in part]
