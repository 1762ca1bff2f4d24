"""The speech recogniser that a command is given, and its figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.cli import progress
from model_server.errors import PoseDubError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model_server.corpus.shards import Corpus, Entry
    from model_server.engines.speech_recogniser import SpeechRecogniser
    from model_server.evaluation.speech_recognition import Tally

_LEARNT = 100  # clips of each collection that a read-out is fitted on


def chosen_recogniser(path: Path | None) -> SpeechRecogniser:
    """The recogniser of a weights file or of a run; the package's own when none is named."""
    from model_server.engines.shipped import shipped_recogniser
    from model_server.engines.speech_recogniser import load_recogniser
    from model_server.training.recogniser.export import trained_recogniser

    path = path or shipped_recogniser()
    if path is None:
        raise PoseDubError("Give --recogniser, the weights of a speech recogniser or the folder of its training.")
    return trained_recogniser(path) if path.is_dir() else load_recogniser(path)


def evaluate(options: argparse.Namespace) -> str:
    """Tables of phoneme errors, of the aligner's times, and of what speech contents hold."""
    from tqdm import tqdm

    from model_server.corpus.shards import INDEX
    from model_server.evaluation.speech_recognition import phoneme_errors, start_errors

    recogniser = chosen_recogniser(options.recogniser)
    folders = [folder for folder in options.sources if (folder / INDEX).is_file()]
    clips = _clips(folders, options.split, options.limit)
    with tqdm(total=len(clips), unit="clip", file=progress.stream()) as bar:
        tallies = phoneme_errors(recogniser, clips, bar.update)
    lines = [f"Speech recogniser of {recogniser.facts.get('steps', '?')} steps", ""]
    lines += _table(tallies) if tallies else []
    lines += _times("phonemes whose times are exact", start_errors(recogniser, clips))
    for folder in options.sources:
        if folder not in folders:
            lines += _times(f"words in {folder.name}", _word_errors(recogniser, folder, options.limit))
    if options.weights and clips:
        learnt = _clips(folders, "train", options.limit or _LEARNT)
        lines += ["", *_contents(options, recogniser, learnt, clips)]
    return "\n".join(lines) + "\n"


def _times(what: str, errors: NDArray[np.float64]) -> list[str]:
    import numpy as np

    if not len(errors):
        return []
    middle, most = 1000 * np.percentile(errors, (50, 95))
    return ["", f"Starts of {len(errors)} {what}: median {middle:.0f} ms off, 95 % at most {most:.0f} ms"]


def _word_errors(recogniser: SpeechRecogniser, folder: Path, limit: int | None) -> NDArray[np.float64]:
    """Of a folder of GRID's videos."""
    from model_server.corpus.speech.layouts import find_speech
    from model_server.evaluation.speech_recognition import word_start_errors

    sources = [source for source in find_speech([folder]) if source.collection == "grid"]
    if not sources:
        raise PoseDubError(f"The folder {folder} is no corpus of voices and has no videos with .align files; give one.")
    return word_start_errors(recogniser, sources[:: max(1, len(sources) // limit)] if limit else sources)


def _contents(
    options: argparse.Namespace,
    recogniser: SpeechRecogniser,
    learnt: list[tuple[Corpus, Entry]],
    tried: list[tuple[Corpus, Entry]],
) -> list[str]:
    """A table of what speech contents of weights hold."""
    from model_server.engines.pcavs.engine import as_pcavs
    from model_server.engines.weights import describe, load_engine
    from model_server.evaluation.content_readout import readout_figures

    lines = ["| phonemes read from the speech content, % of frames | all | spoken | frames |", "|---|---|---|---|"]
    for path in options.weights:
        engine = as_pcavs(load_engine(describe(path), options.device, options.precision))
        found = readout_figures(engine.speech_contents, recogniser, learnt, tried)
        lines.append(f"| {path.stem} | {100 * found.all:.1f} | {100 * found.spoken:.1f} | {found.frames} |")
    return lines


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


def _clips(folders: Sequence[Path], split: str, limit: int | None) -> list[tuple[Corpus, Entry]]:
    """Clips of a split, at most `limit` of each collection, spread over it."""
    from model_server.corpus.shards import Corpus

    found: dict[str, list[tuple[Corpus, Entry]]] = {}
    for folder in folders:
        corpus = Corpus.open(folder)
        for name in corpus.names(None if split == "all" else split):
            entry = corpus.entry(name)
            found.setdefault(entry.source, []).append((corpus, entry))
    most = limit or sys.maxsize
    spread = (
        [part[k * len(part) // most] for k in range(most)] if most < len(part) else part for part in found.values()
    )
    return [clip for part in spread for clip in part]


def voices_of(folders: Sequence[Path], split: str, limit: int) -> list[NDArray[np.float32]]:
    """Sounds of a split of corpora of voices, at most `limit` of each collection."""
    from model_server.corpus.speech.clips import read_speech_clip
    from model_server.evaluation.speech_recognition import samples_of

    clips = _clips(folders, split, limit)
    if not clips:
        raise PoseDubError(f"The corpora hold no voices in their {split} split; choose another --split.")
    return [samples_of(read_speech_clip(corpus, entry.name)) for corpus, entry in clips]
