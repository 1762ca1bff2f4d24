"""Finds voices and what they say, in the layouts of common corpora.

A list (`index.tsv`: file, speaker, language, text, licence), LJ Speech (`metadata.csv` beside `wavs/`), LibriSpeech
(`*.trans.txt` beside the sound), GRID (`*.align` beside the video), and any sound with a `.txt` of its name.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from model_server.errors import ErrorKind, PoseDubError
from model_server.surroundings import naming

INDEX = "index.tsv"
SOUNDS = frozenset([".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".mpg", ".mp4", ".mov"])
GRID_LANGUAGE = "en-gb-x-rp"
_LJ_LIST, _LIBRISPEECH_LIST = "metadata.csv", "*.trans.txt"
_GRID_TICKS = 25000  # of `.align`, a second
_GRID_FILE = re.compile(r"(?:(s\d+)_)?(?:.*_)?([blps][bgrw][abiw][a-z][0-9z][anps])")


@dataclass(frozen=True)
class SpeechSource:
    """A sound file and what is said in it.

    Attributes:
        path: the file.
        name: unique name of its clip, without dots.
        speaker: who speaks.
        collection: where it is from, a word.
        language: code, or a voice of eSpeak NG.
        text: what is said, "" where it is not known.
        licence: as the list says.
    """

    path: Path
    name: str
    speaker: str
    collection: str
    language: str
    text: str = ""
    licence: str = ""


def find_speech(folders: Iterable[Path], language: str = "en") -> list[SpeechSource]:
    """All voices under folders, in the order of their names.

    Args:
        folders: each of any layout; lists may lie in folders below it.
        language: where the layout tells none.

    Raises:
        PoseDubError: a folder or a file that is listed is missing, or there is no voice at all.
    """
    found: dict[str, SpeechSource] = {}
    for folder in folders:
        if not folder.is_dir():
            sentence = f"The source {folder} is no folder; give folders of sound files."
            raise PoseDubError(sentence, ErrorKind.NOT_FOUND)
        with naming(folder):
            for source in _in_folder(folder, language):
                found.setdefault(source.name, source)
    if not found:
        raise PoseDubError("The sources hold no sound; give folders of sound files, with their texts.")
    return [found[name] for name in sorted(found)]


def _in_folder(folder: Path, language: str) -> Iterator[SpeechSource]:
    if (folder / INDEX).is_file():
        yield from _listed(folder)
    elif (folder / _LJ_LIST).is_file():
        yield from _ljspeech(folder, language)
    else:
        texts = _librispeech_texts(folder)
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SOUNDS and path.is_file():
                yield _alone(path, folder, language, texts)


def _listed(folder: Path) -> Iterator[SpeechSource]:
    with (folder / INDEX).open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            try:
                path = Path(row["file"])
                name = _plain("-".join(path.with_suffix("").parts))
                yield SpeechSource(
                    folder / path, name, _plain(row["speaker"]), path.parts[0], row["language"], row["text"] or "",
                    row.get("licence") or "",
                )  # fmt: skip
            except (KeyError, TypeError) as error:
                raise PoseDubError(
                    f"The list {folder / INDEX} lacks columns; its first line must name file, speaker, language, text "
                    "and licence.",
                    ErrorKind.CORRUPT,
                ) from error


def _ljspeech(folder: Path, language: str) -> Iterator[SpeechSource]:
    """`id|text|normalised text`; ids without a sound file are passed over."""
    with (folder / _LJ_LIST).open(newline="") as file:
        for row in csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE):
            path = next((p for s in SOUNDS if (p := folder / "wavs" / f"{row[0]}{s}").is_file()), None)
            if path and len(row) > 1:
                yield SpeechSource(path, _plain(row[0]), _plain(folder.name), "ljspeech", language, row[-1].strip())


def _librispeech_texts(folder: Path) -> dict[str, str]:
    lines = (line for path in sorted(folder.rglob(_LIBRISPEECH_LIST)) for line in path.read_text().splitlines())
    return {name: text.lower() for name, _, text in (line.partition(" ") for line in lines)}


def _alone(path: Path, folder: Path, language: str, texts: dict[str, str]) -> SpeechSource:
    """A file whose speaker and text are told by its name and its neighbours."""
    if path.stem in texts:
        name, speaker = path.stem, path.stem.split("-")[0]
        return SpeechSource(path, _plain(name), f"libri-{speaker}", "librispeech", language, texts[path.stem])
    if path.with_suffix(".align").is_file():
        return _grid(path)
    beside = path.with_suffix(".txt")
    text = " ".join(beside.read_text().split()) if beside.is_file() else ""
    name = _plain("-".join([folder.name, *path.relative_to(folder).with_suffix("").parts]))
    return SpeechSource(path, name, _plain(path.parent.name), _plain(folder.name), language, text)


def _grid(path: Path) -> SpeechSource:
    match = _GRID_FILE.fullmatch(path.stem)
    speaker = (match and match[1]) or re.sub(r".*_", "", path.parent.name)
    # The letter A is named, not spoken as the article.
    words = ["eh" if word == "a" else word for word, _, _ in read_align(path.with_suffix(".align"))]
    name = f"grid-{speaker}-{match[2] if match else path.stem}"
    return SpeechSource(path, _plain(name), f"grid-{speaker}", "grid", GRID_LANGUAGE, " ".join(words), "CC BY 4.0")


def read_align(path: Path) -> list[tuple[str, float, float]]:
    """Words, starts and ends in seconds of GRID's `.align`, without silences."""
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return [(w, int(a) / _GRID_TICKS, int(b) / _GRID_TICKS) for a, b, w in rows if w not in ("sil", "sp")]


def _plain(name: str) -> str:
    """A name without the separators that shards use."""
    return re.sub(r"[^\w-]+", "_", name)
