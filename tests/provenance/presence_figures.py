"""How well the presence mark is hidden and found: figures over many pictures and movies that do not have it.

    python -m tests.provenance.presence_figures FILE...

Each file counts as one clean picture (of a movie its first). Movies are marked as if networks had drawn all of them, at
224 and at 448 pixels' height, coded by H.264 at CRF 28, in full and in half size, whole, without their borders, and the
middle alone.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from model_server.errors import PoseDubError
from model_server.pipeline.compositing.presence_mark import imprinted
from model_server.pipeline.media.sandboxed import open_footage
from model_server.provenance.presence import FOUND, look_into, presence
from tests.pipeline.makers import write_movie

Picture = np.ndarray
FRAMES, CRF = 25, "28"
MOST_MOVIES = 20
SIZES = (224, 448)
BORDER, WIDE_BORDER = 0.1, 0.25
"""Cut off on each side of a cropped movie, and around the middle."""


def main(files: Sequence[str]) -> None:
    """Print a table."""
    paths, movies = [Path(file) for file in files], []
    scores, loss = [], []
    for path in paths:
        try:
            footage = open_footage(path)
        except PoseDubError:
            continue
        picture = footage.frame_at(footage.times[0])
        scores.append(presence([picture]).score)
        loss.append(_psnr(picture, imprinted(picture)))
        if len(footage.times) >= FRAMES and len(movies) < MOST_MOVIES:
            movies.append(path)
    print(f"{len(scores)} clean pictures: {sum(one > FOUND for one in scores)} found, best score {max(scores):.2f}")
    print(f"PSNR of the marked ones: {np.mean(loss):.2f} dB, least {min(loss):.2f} dB")
    print("\n| marked movies, H.264 CRF 28 | found | median score | the same without the mark |\n|---|---|---|---|")
    for height in SIZES:
        for how, shown in _SHOWN.items():
            marked, clean = (_scores(movies, height, shown, mark) for mark in (True, False))
            found, alarms = (sum(one > FOUND for one in some) for some in (marked, clean))
            median = f"{np.median(marked):.1f}"
            print(f"| {height} px, {how} | {found} of {len(marked)} | {median} | {alarms} |", flush=True)


def _psnr(one: Picture, other: Picture) -> float:
    return 10 * float(np.log10(255**2 / np.square(one.astype(float) - other).mean()))


def _whole(picture: Picture) -> Picture:
    return picture


def _half(picture: Picture) -> Picture:
    return cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)


def _cropped(picture: Picture, border: float = BORDER) -> Picture:
    top, left = (round(border * side) for side in picture.shape[:2])
    return picture[top:-top, left:-left]


_SHOWN = {
    "as made": _whole,
    "half size": _half,
    "cropped": _cropped,
    "cropped, half size": lambda picture: _half(_cropped(picture)),
    "the middle quarter": lambda picture: _cropped(picture, WIDE_BORDER),
}


def _scores(movies: Sequence[Path], height: int, shown, mark: bool) -> list[float]:  # noqa: ANN001
    """Of each movie, once it was marked or not, shown and coded."""
    with tempfile.TemporaryDirectory() as folder:
        coded, found = Path(folder) / "movie.mp4", []
        for path in movies:
            pictures = (imprinted(one) if mark else one for one in _frames(path, height))
            write_movie(coded, [_even(shown(one)) for one in pictures], options={"crf": CRF})
            found.append(look_into(coded).score)
    return found


def _frames(path: Path, height: int) -> Iterator[Picture]:
    for _, picture in islice(open_footage(path).iter_frames(range(FRAMES)), FRAMES):
        width = round(picture.shape[1] * height / picture.shape[0])
        yield cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)


def _even(picture: Picture) -> Picture:
    return picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]


if __name__ == "__main__":
    main(sys.argv[1:])
