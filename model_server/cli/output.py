"""A job's events on the terminal, its frames in a folder or a movie."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from model_server import __version__
from model_server.cli.options import MOVIE_SUFFIXES
from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.blobs import atomic_file
from model_server.jobs.model import Ended, Event, FrameMade, Job, JobState, Progress, Warned
from model_server.pipeline.encode import decode_png, write_movie
from model_server.pipeline.film import Film
from model_server.pipeline.movie_format import Drawn
from model_server.pipeline.timecode import timecode
from model_server.pipeline.video import open_footage


def write(events: Iterable[Event], job: Job, out: Path, sound: Path, footage: Path | None = None) -> None:
    """Write the frames as they come and report on stderr; PoseDubError when the job failed.

    Args:
        footage: what a movie shows under the frames; None when they are all of it.
    """
    spec = job.request.spec
    frames = _shown(events, job)
    if out.suffix.lower() in MOVIE_SUFFIXES:
        _write_movie(frames, job, out, sound, footage)
    else:
        _write_folder(frames, job, out)
    count = job.request.end - job.request.first
    print(f"{count} frames at {spec.fps} fps in {out}, made with {weights_text(job)}")


def weights_text(job: Job) -> str:
    """The weights as a person should read them."""
    _, name, kind, preset = job.weights
    if kind == "untrained":
        return f"untrained weights ({preset}): the portrait does not speak or turn yet"
    return f"{kind} weights {name} ({preset})"


def _shown(events: Iterable[Event], job: Job) -> Iterator[FrameMade]:
    """The frames among the events; the rest goes to the terminal."""
    total = job.request.end - job.request.first
    with tqdm(total=total, unit="frame", desc="queued", file=sys.stderr) as bar:
        for event in events:
            if isinstance(event, FrameMade):
                yield event
                bar.update()
            elif isinstance(event, Progress):
                share = f" {event.done}/{event.total}" if event.phase in ("pose", "footage") and event.total else ""
                bar.set_description(event.phase + share)
            elif isinstance(event, Warned):
                bar.write(_warning_text(event, job.request.spec.fps), file=sys.stderr)
            elif isinstance(event, Ended):
                _check_end(event.job)


def _warning_text(warning: Warned, fps: Fraction) -> str:
    first, end = timecode(warning.first, fps), timecode(warning.end, fps)
    return f"warning: {first} to {end} ({warning.end - warning.first} frames): {warning.message}"


def _check_end(job: Job) -> None:
    if job.state is JobState.FAILED:
        raise PoseDubError(job.error)
    if job.state is JobState.CANCELLED:
        raise PoseDubError("The dub was cancelled; the same command goes on from there.", ErrorKind.CANCELLED)


def _write_folder(frames: Iterable[FrameMade], job: Job, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        with atomic_file(folder / f"{frame.index:06}.png") as file:
            file.write(frame.png)
    with atomic_file(folder / "manifest.json") as file:
        file.write(json.dumps(_manifest(job), indent=1).encode())


def _manifest(job: Job) -> dict[str, object]:
    weights = dict(zip(("id", "name", "kind", "preset"), job.weights, strict=True))
    return {"posedub": __version__, "job": job.id, "weights": weights, "request": json.loads(job.request.to_json())}


def _write_movie(frames: Iterable[FrameMade], job: Job, path: Path, sound: Path, footage: Path | None) -> None:
    part = path.with_name(f".part-{path.name}")
    try:
        spec = job.request.spec
        film = _film(job, footage)
        pictures = (_drawn(frame, film) for frame in frames)
        speech, index = spec.speech, job.request.first
        start = speech.start + index / spec.fps
        lead = speech.start if index == 0 else Fraction(0)  # what is heard before the footage's first picture
        title, form = f"PoseDub dub, made with {weights_text(job)}", film.format if film else None
        write_movie(part, pictures, spec.fps, sound, start, title, speech.track, lead, form)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _film(job: Job, footage: Path | None) -> Film | None:
    """The footage that the dub's overlays lie on in a movie."""
    source = job.request.spec.output.footage
    if footage is None or source is None:
        return None
    film = Film(open_footage(footage), source, job.request.spec.fps)
    for remark in film.remarks():
        print(f"note: {remark}", file=sys.stderr)
    return film


def _drawn(frame: FrameMade, film: Film | None) -> Drawn:
    picture = decode_png(frame.png)
    return film.picture(frame.index, picture) if film else picture
