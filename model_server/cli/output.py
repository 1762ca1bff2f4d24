"""A job's events on the terminal, its frames in a folder or a movie."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from model_server.cli import progress
from model_server.cli.frames_folder import FramesFolder, frame_files
from model_server.cli.marks import Signed
from model_server.cli.options import is_movie
from model_server.errors import ErrorKind, PoseDubError
from model_server.files import replacing
from model_server.jobs.model import Ended, Event, FrameMade, Job, JobState, Progress, Warned
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.media.video import open_footage
from model_server.pipeline.movies.film import Film
from model_server.pipeline.movies.movie_format import Drawn
from model_server.pipeline.movies.writer import write_movie
from model_server.pipeline.request import ROLES, DubSpec
from model_server.pipeline.timecode import frames_text, timecode
from model_server.pipeline.warnings import ABOUT_SOURCES, CHOOSE
from model_server.surroundings import naming

_PHASES = {"compiling": "compiling for this processor, once"}


def write(
    events: Iterable[Event], job: Job, out: Path, signed: Signed, sound: Path, footage: Path | None = None
) -> None:
    """Write the frames as they come and report on stderr; PoseDubError when the job failed.

    Args:
        signed: what movie or folder are to say of the dub, and by whom.
        footage: what a movie shows under the frames; None when they are all of it.
    """
    spec = job.request.spec
    with closing(_shown(events, job)) as frames:  # whatever happens, the bar ends before the next line begins
        if is_movie(out):
            _write_movie(frames, job, out, signed, sound, footage)
        else:
            FramesFolder(out, job, _note).write((frame.index, frame.png) for frame in frames)
            signed.sign_folder(out, frame_files(out))
    count = job.request.end - job.request.first
    print(f"{frames_text(count)} at {spec.fps} fps in {out}, made with {weights_text(job)}")


def weights_text(job: Job) -> str:
    """The weights as a person should read them."""
    _, name, kind, preset = job.weights
    if kind == "untrained":
        return f"untrained weights ({preset}): the portrait does not speak or turn yet"
    return f"{kind} weights {name} ({preset})"


def _shown(events: Iterable[Event], job: Job) -> Generator[FrameMade]:
    """The frames among the events; the rest goes to the terminal."""
    total = job.request.end - job.request.first
    with tqdm(total=total, unit="frame", desc="queued", file=progress.stream()) as bar:
        for event in events:
            if isinstance(event, FrameMade):
                yield event
                bar.update()
            elif isinstance(event, Progress):
                share = f" {event.done}/{event.total}" if event.phase in ("pose", "footage") and event.total else ""
                bar.set_description(_PHASES.get(event.phase, event.phase) + share)
            elif isinstance(event, Warned):
                bar.write(_warning_text(event, job.request.spec), file=sys.stderr)
            elif isinstance(event, Ended):
                _check_end(event.job)


def _warning_text(warning: Warned, spec: DubSpec) -> str:
    if warning.kind in ABOUT_SOURCES:
        return f"warning: {_with_option(warning.message, spec)}"
    first, end = timecode(warning.first, spec.fps), timecode(warning.end, spec.fps)
    return f"warning: {first} to {end} ({frames_text(warning.end - warning.first)}): {warning.message}"


def _with_option(sentence: str, spec: DubSpec) -> str:
    """A sentence on several faces ends with the option that names one, if there is one for this source."""
    named = ROLES["footage" if spec.output.footage else "portrait"]
    return sentence.replace(CHOOSE, ": name another one with --face X,Y" if f"in {named};" in sentence else "")


def _check_end(job: Job) -> None:
    if job.state is JobState.FAILED:
        raise PoseDubError(job.error)
    if job.state is JobState.CANCELLED:
        raise PoseDubError("The dub was cancelled; the same command goes on from there.", ErrorKind.CANCELLED)


def _write_movie(
    frames: Iterable[FrameMade], job: Job, path: Path, signed: Signed, sound: Path, footage: Path | None
) -> None:
    with naming(path), replacing(path) as part:
        spec = job.request.spec
        film = _film(job, footage)
        pictures = (_drawn(frame, film) for frame in _complete(frames, job))
        speech, index = spec.speech, job.request.first
        start = speech.start + index / spec.fps
        lead = speech.start if index == 0 else Fraction(0)  # what is heard before the footage's first picture
        title, form = f"made with {weights_text(job)}", film.format if film else None
        write_movie(part, pictures, spec.fps, sound, start, title, speech.track, lead, form)
        signed.sign_movie(part, path.name)


def _film(job: Job, footage: Path | None) -> Film | None:
    """The footage that the dub's overlays lie on in a movie."""
    source = job.request.spec.output.footage
    if footage is None or source is None:
        return None
    film = Film(open_footage(footage), source, job.request.spec.fps)
    for remark in film.remarks():
        _note(remark)
    return film


def _complete(frames: Iterable[FrameMade], job: Job) -> Iterator[FrameMade]:
    """The frames; PoseDubError after the last one when there were fewer than asked for."""
    count, total = 0, job.request.end - job.request.first
    for frame in frames:
        yield frame
        count += 1
    if count != total:
        raise PoseDubError(f"Only {count} of {frames_text(total)} came; the same command makes what is left.")


def _note(sentence: str) -> None:
    """Something about the result, above the bar."""
    tqdm.write(f"note: {sentence}", file=sys.stderr)


def _drawn(frame: FrameMade, film: Film | None) -> Drawn:
    picture = decode_png(frame.png)
    return film.picture(frame.index, picture) if film else picture
