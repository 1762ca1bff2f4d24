"""`posedub corpus align`: words and phonemes of recordings with their times, from their texts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.cli import options as shared
from model_server.cli import progress
from model_server.errors import PoseDubError
from model_server.files import write_text
from model_server.places import check_readable, folder_to_fill

if TYPE_CHECKING:
    from model_server.corpus.speech.layouts import SpeechSource

_FORMS = ("TextGrid", "tsv")


def add_parser(actions: argparse._SubParsersAction) -> None:
    """Register `corpus align`."""
    parser = actions.add_parser("align", help="find the words and phonemes of known texts in recordings")
    parser.add_argument("sources", type=Path, nargs="+", metavar="SRC", help="sounds, or folders of them with texts")
    parser.add_argument("--text", help="what is said in the one sound that is given")
    parser.add_argument("--text-file", type=Path, metavar="X.txt", help="the same, from a file")
    parser.add_argument("--language", default="en", help="of the texts, where the folder tells none (en)")
    parser.add_argument("--recogniser", type=Path, metavar="FILE", help="another one, or the folder of its training")
    parser.add_argument("--form", choices=(*_FORMS, "both"), default="both", help="of what is written (both)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="NAME.TextGrid and NAME.tsv go there")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    shared.cache_folder()
    from tqdm import tqdm

    from model_server.cli.recogniser import chosen_recogniser
    from model_server.corpus.speech.align import align_text
    from model_server.corpus.speech.build import recorded_sound

    recogniser = chosen_recogniser(options.recogniser)
    sources = list(_sources(options))
    failed = 0
    with folder_to_fill(options.out, "choose another --out"):
        for source in tqdm(sources, unit="sound", file=progress.stream(), disable=len(sources) == 1):
            try:
                alignment = align_text(recorded_sound(source), source.text, source.language, recogniser)
            except PoseDubError as error:
                if len(sources) == 1:
                    raise
                failed += 1
                tqdm.write(f"{source.name}: {error.message}", file=sys.stderr)
                continue
            _write(options, source.name, alignment.textgrid(), alignment.table())
    print(f"{len(sources) - failed} of {len(sources)} sounds aligned: {options.out}")
    return 0 if failed < len(sources) else 1


def _write(options: argparse.Namespace, name: str, *texts: str) -> None:
    for form, text in zip(_FORMS, texts, strict=True):
        if options.form in (form, "both"):
            write_text(options.out / f"{name}.{form}", text)


def _sources(options: argparse.Namespace) -> Iterator[SpeechSource]:
    """What is to be aligned; sounds without a text are passed over in folders."""
    from model_server.corpus.speech.layouts import find_speech

    folders = [path for path in options.sources if path.is_dir()]
    files = [path for path in options.sources if not path.is_dir()]
    if (options.text or options.text_file) and (folders or len(files) != 1):
        raise PoseDubError("A text belongs to one sound; give one file, or folders that hold their texts.")
    for path in files:
        yield _single(path, options)
    if folders:
        yield from (source for source in find_speech(folders, options.language) if source.text)


def _single(path: Path, options: argparse.Namespace) -> SpeechSource:
    from model_server.corpus.speech.layouts import SpeechSource

    check_readable(path)
    beside = options.text_file or path.with_suffix(".txt")
    text = options.text or (" ".join(beside.read_text().split()) if beside.is_file() else "")
    if not text:
        raise PoseDubError(f"What is said in {path.name} is not known; give --text, --text-file, or {beside.name}.")
    return SpeechSource(path, path.stem, path.parent.name, path.parent.name, options.language, text)
