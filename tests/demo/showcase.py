"""`make showcase`: several portraits speak one sentence and turn as one pose source does.

Writes showcase.mp4, where all of them speak at once, and showcase.jpg, where each one's moments are in a row.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from model_server.cli import marks, output, progress
from model_server.cli import options as shared
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest
from model_server.jobs.in_process import LocalServer
from model_server.pipeline.media.images import load_image
from model_server.pipeline.media.stills import is_image
from model_server.pipeline.media.video import Picture, picture_at
from model_server.pipeline.movies.writer import write_movie
from model_server.pipeline.request import SIZE, DubRequest, DubSpec, Portrait, PoseVideo, Speech
from model_server.pipeline.speech.audio import speech_duration
from model_server.provenance.certificate import own_certificate
from model_server.provenance.signing import Signer
from tests.demo.sheet import CELL, PAPER, make_grid, pose_pictures

INPUTS = Path(__file__).parent / "inputs"
FPS = Fraction(25)
COLUMNS, MOMENTS = 4, 6
NOTE = "PoseDub showcase. Weights: {name} ({preset}, {kind})"


def main(arguments: list[str] | None = None) -> int:
    """Write the movie and the sheet; 0, or 1 with one sentence."""
    options = _options(arguments)
    try:
        portraits = _portraits(options.portraits)
        pool = shared.engine_pool(options)
        note = NOTE.format(**vars(pool.info()))
        with LocalServer(options.data or options.out / "store", pool) as server:
            dubs = [_dub(server, portrait, options) for portrait in portraits]
        _write_movie(dubs, note, options)
        _sheet(portraits, dubs, note, options.pose).save(options.out / "showcase.jpg", quality=92)
    except PoseDubError as problem:
        print(f"showcase: {problem}", file=sys.stderr)
        return 1
    print(f"Done: {len(dubs)} portraits. Look at {options.out / 'showcase.mp4'} and {options.out / 'showcase.jpg'}.")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--portraits", type=Path, default=INPUTS / "stock", metavar="DIR", help="one picture each")
    parser.add_argument("--speech", type=Path, default=INPUTS / "speech.flac", metavar="FILE")
    parser.add_argument("--pose", type=Path, default=INPUTS / "pose.mp4", metavar="FILE")
    parser.add_argument("--seconds", type=Fraction, metavar="N", help="only the first N seconds of the speech")
    shared.add_engine_options(parser)
    return parser.parse_args(arguments)


def _portraits(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("*") if path.is_file() and is_image(path))
    if not found:
        raise PoseDubError(f"There is no picture in {folder}; choose a folder of portraits.", ErrorKind.NOT_FOUND)
    return found


def _dub(server: LocalServer, portrait: Path, options: argparse.Namespace) -> list[Path]:
    """The frames of one portrait, as `posedub dub` makes them."""
    assets = {path: file_digest(path) for path in (portrait, options.speech, options.pose)}
    for path, asset in assets.items():
        server.add(asset, path)
    whole = speech_duration(options.speech)
    spec = DubSpec(
        portrait=Portrait(assets[portrait]),
        speech=Speech(assets[options.speech]),
        pose=PoseVideo(assets[options.pose], start=1 / (2 * FPS)),
        fps=FPS,
        frame_count=math.ceil(min(whole, options.seconds or whole) * FPS),
    )
    job = server.submit(DubRequest(spec))
    folder = options.out / "frames" / portrait.name
    signer = Signer(own_certificate(None))
    signed = marks.signed(signer, job, {asset: path for path, asset in assets.items()}, consent="")
    output.write(server.events(job), job, output.Place(folder, options.speech), signed, output.Terminal())
    return [folder / f"{index:06}.png" for index in range(spec.frame_count)]


def _write_movie(dubs: list[list[Path]], note: str, options: argparse.Namespace) -> None:
    grids = tqdm(_grids(dubs, note), total=len(dubs[0]), unit="frame", desc="movie", file=progress.stream())
    write_movie(options.out / "showcase.mp4", grids, FPS, options.speech, Fraction(0), note)


def _grids(dubs: list[list[Path]], note: str) -> Iterator[Picture]:
    """All portraits side by side, frame by frame."""
    for moment in zip(*dubs, strict=True):
        pictures = list(map(load_image, moment))
        rows = [pictures[first : first + COLUMNS] for first in range(0, len(pictures), COLUMNS)]
        yield np.asarray(make_grid(rows, note, cell=SIZE))


def _sheet(portraits: list[Path], dubs: list[list[Path]], note: str, pose: Path) -> Image.Image:
    """A row per portrait, the picture itself and moments of its dub, and the pose source's below them."""
    picks = [round(place) for place in np.linspace(0, len(dubs[0]) - 1, MOMENTS)]
    times = [(index + Fraction(1, 2)) / FPS for index in picks]
    rows = [
        [picture_at(portrait, Fraction(0)), *(load_image(frames[index]) for index in picks)]
        for portrait, frames in zip(portraits, dubs, strict=True)
    ]
    rows.append([np.full((CELL, CELL, 3), PAPER, np.uint8), *pose_pictures(pose, times)])
    captions = [f"frame {index}, {float(time):.2f} s" for index, time in zip(picks, times, strict=True)]
    return make_grid(rows, note, ["last row: pose source", *captions])


if __name__ == "__main__":
    sys.exit(main())
