"""Whether --out may be written at all, told from its name and the inputs before any work."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from model_server.cli.options import MOVIE_SUFFIXES
from model_server.errors import PoseDubError

# Suffixes by which a person means a file, while frames without a movie's suffix go to a folder.
_MOVIES = ".3gp .asf .avi .divx .f4v .flv .m2ts .mkv .mpeg .mpg .mts .mxf .ogv .qt .ts .vob .webm .wmv"
_SOUNDS = ".aac .aif .aiff .flac .m4a .mka .mp3 .oga .ogg .opus .wav .wma"
_PICTURES = ".apng .avif .bmp .dpx .exr .gif .heic .jpeg .jpg .png .tga .tif .tiff .webp"
_OTHER_FILES = frozenset(f"{_MOVIES} {_SOUNDS} {_PICTURES}".split())
_WRITTEN = re.compile(r"[0-9]{6,}\.png|manifest\.json|marks\.(json|c2pa)", re.IGNORECASE)


def check(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse an `--out` that would replace one of the inputs or whose suffix names what is not written.

    Raises:
        PoseDubError: with what to choose instead.
    """
    is_movie = out.suffix.lower() in MOVIE_SUFFIXES
    if out.suffix.lower() in _OTHER_FILES and not out.is_dir():
        movies = ", ".join(MOVIE_SUFFIXES)
        raise PoseDubError(f"--out {out} is no kind of file that is written; name a movie ({movies}) or a folder.")
    written = [out] if is_movie else list(_frames(out))
    for given in inputs:
        taken = next((path for path in written if _same(path, given)), None)
        if taken:
            raise PoseDubError(f"The dub would replace {taken}, which is one of its inputs; choose another --out.")


def _frames(folder: Path) -> Iterator[Path]:
    """Files in a folder that are named like those of a dub, whatever its length."""
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if _WRITTEN.fullmatch(path.name))


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, also through links; false where there is none."""
    return one.exists() and other.exists() and one.samefile(other)
