"""Lists of shots: CSV with a header, JSON, or the lines of PC-AVS's published demo.

A shot is the options of one `posedub dub`. Paths in a list are those beside it; in PC-AVS's lines, which begin where
its scripts are started, also those beside a folder above it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_server.cli.options import MOVIE_SUFFIXES
from model_server.errors import ErrorKind, PoseDubError

OTHER_NAMES = {"sound": "audio", "engine": "weights"}
"""Names by which lists may call options of `posedub dub`."""
_MODES = ("full", "overlay")
_NAMELESS = re.compile(r"[\\/\0]|^\.{0,2}$")
# PC-AVS, data/voxtest_dataset.py: face, its frames; pose, its frames; sound; mouth, its frames; spectrogram.
_PUBLISHED = re.compile(r"\S+\s+\d+\s+\S+\s+\d+\s+\S+\s+\S+\s+\d+\s+\S+")


@dataclass(frozen=True)
class Shot:
    """What one line of a list asks for.

    Attributes:
        name: of the shot, for reports, and of its folder unless it names another place.
        where: the line of the list, for sentences.
        options: values by names of `posedub dub`'s options, without dashes before them.
        folders: where relative paths may begin; the first one that has the file counts.
        problem: why it cannot be made, if that is known already.
    """

    name: str
    where: str
    options: dict[str, str]
    folders: tuple[Path, ...]
    problem: str = ""

    def path(self, text: str) -> Path:
        """Where a file of the list lies."""
        found = [folder / text for folder in self.folders if (folder / text).exists()]
        return found[0] if found else self.folders[0] / text


def read_shots(path: Path) -> list[Shot]:
    """The shots of a list.

    Raises:
        PoseDubError: it cannot be read, names no shot, or names two alike.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PoseDubError(f"{path} cannot be read as a list of shots ({error}).", ErrorKind.NOT_FOUND) from error
    shots = list(_shots(path, text))
    if not shots:
        raise PoseDubError(f"{path} names no shot; write one line for each below the header.")
    return distinct(shots, path)


def distinct(shots: list[Shot], path: Path) -> list[Shot]:
    """The shots; PoseDubError where two of them have one name."""
    name, count = Counter(shot.name for shot in shots).most_common(1)[0]
    if count > 1:
        raise PoseDubError(f"{path} names {count} shots {name!r}; give each its own name.")
    return shots


def _shots(path: Path, text: str) -> Iterator[Shot]:
    if path.suffix.lower() == ".json":
        yield from _of_objects(_objects(path, text), (path.parent,))
        return
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and _PUBLISHED.fullmatch(lines[0][1].strip()):
        folders = tuple(path.absolute().parents)
        yield from (_published(number, line, folders) for number, line in lines)
        return
    yield from _of_objects(_rows(text), (path.parent,))


def _rows(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """CSV, its columns apart by commas, or as some spreadsheets write it, semicolons."""
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ",")
    for row in reader:
        cells = {(name or "").strip(): value.strip() for name, value in row.items() if isinstance(value, str)}
        if any(cells.values()):
            yield f"line {reader.line_num}", cells


def _objects(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        data = json.loads(text)
        shots = data["shots"] if isinstance(data, dict) else data
        if not all(isinstance(shot, dict) for shot in shots):
            raise TypeError("a shot is no object")
    except (ValueError, LookupError, TypeError) as error:
        raise PoseDubError(f"{path} is no JSON list of shots ({error}); write [{{...}}, ...].") from error
    yield from ((f"shot {number}", shot) for number, shot in enumerate(shots, 1))


def _of_objects(rows: Iterable[tuple[str, dict[str, Any]]], folders: tuple[Path, ...]) -> Iterator[Shot]:
    for number, (where, row) in enumerate(rows, 1):
        options = dict(option(name, value) for name, value in row.items() if value not in ("", None))
        name = options.pop("name", "") or _name_of(options.get("out", "")) or f"shot{number:03}"
        if _NAMELESS.search(name):
            raise PoseDubError(f"The name {name!r} of {where} cannot be a folder's; choose one without slashes.")
        yield Shot(name, where, options, folders)


def option(column: str, value: object) -> tuple[str, str]:
    """A column's option of `posedub dub`, and its value as the command reads it."""
    name = re.sub(r"[\s_]+", "-", column.strip().lower()).lstrip("-")
    text = {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    if name == "output" and text not in _MODES:
        return "out", text
    return OTHER_NAMES.get(name, name), text


def _name_of(out: str) -> str:
    place = Path(out)
    return place.stem if place.suffix.lower() in MOVIE_SUFFIXES else place.name


def _published(number: int, line: str, folders: tuple[Path, ...]) -> Shot:
    """PC-AVS's columns; its mouth frames and spectrogram are made of the sound here, and its faces are crops."""
    face, _, pose, _, sound = line.split()[:5]
    name = f"id_{Path(face).name}_pose_{Path(pose).name}_audio_{Path(sound).stem}"
    shot = Shot(name, f"line {number}", {}, folders)
    # As there: a pose source that is no folder leaves the head as the face has it.
    source = {"pose": pose} if shot.path(pose).is_dir() else {"pose-mode": "fixed"}
    return Shot(name, shot.where, {"portrait": face, "audio": sound, "crop": "aligned", **source}, folders)
