"""A job's events on the terminal, its frames in a folder or a movie."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

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


@dataclass(frozen=True)
class Place:
    """Where a dub goes, and what a movie of it shows and plays beside the frames.

    Attributes:
        footage: what a movie shows under the frames; None when they are all of it.
        lead: seconds of the sound that are heard before the first frame.
    """

    out: Path
    sound: Path
    footage: Path | None = None
    lead: Fraction = Fraction(0)


class Telling(Protocol):
    """Who hears how a dub goes on."""

    def frames(self, events: Iterable[Event], job: Job) -> Generator[FrameMade]:
        """The frames among the events; the rest is told. PoseDubError when the job failed."""

    def note(self, sentence: str) -> None:
        """Something about the result."""


def write(events: Iterable[Event], job: Job, place: Place, signed: Signed, telling: Telling) -> None:
    """Write the frames as they come; PoseDubError when the job failed.

    Args:
        signed: what movie or folder are to say of the dub, and by whom.
    """
    with closing(telling.frames(events, job)) as frames:  # whatever happens, a bar ends before the next line begins
        if is_movie(place.out):
            _write_movie(frames, job, place, signed, telling)
        else:
            FramesFolder(place.out, job, telling.note).write((frame.index, frame.png) for frame in frames)
            signed.sign_folder(place.out, frame_files(place.out))


def done_text(job: Job, out: Path) -> str:
    """What was made, in one line."""
    count = job.request.end - job.request.first
    return f"{frames_text(count)} at {job.request.spec.fps} fps in {out}, made with {weights_text(job)}"


def weights_text(job: Job) -> str:
    """The weights as a person should read them."""
    _, name, kind, preset = job.weights
    if kind == "untrained":
        return f"untrained weights ({preset}): the portrait does not speak or turn yet"
    return f"{kind} weights {name} ({preset})"


class Terminal:
    """Tells on stderr, with a bar."""

    def frames(self, events: Iterable[Event], job: Job) -> Generator[FrameMade]:
        """The frames among the events."""
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
                    bar.write(f"warning: {warning_text(event, job.request.spec)}", file=sys.stderr)
                elif isinstance(event, Ended):
                    check_end(event.job)

    def note(self, sentence: str) -> None:
        """Something about the result, above the bar."""
        tqdm.write(f"note: {sentence}", file=sys.stderr)


def warning_text(warning: Warned, spec: DubSpec) -> str:
    """A warning in a line."""
    if warning.kind in ABOUT_SOURCES:
        return _with_option(warning.message, spec)
    first, end = timecode(warning.first, spec.fps), timecode(warning.end, spec.fps)
    return f"{first} to {end} ({frames_text(warning.end - warning.first)}): {warning.message}"


def _with_option(sentence: str, spec: DubSpec) -> str:
    """A sentence on several faces ends with the option that names one, if there is one for this source."""
    named = ROLES["footage" if spec.output.footage else "portrait"]
    return sentence.replace(CHOOSE, ": name another one with --face X,Y" if f"in {named};" in sentence else "")


def check_end(job: Job) -> None:
    """Raise PoseDubError unless it is done."""
    if job.state is JobState.FAILED:
        raise PoseDubError(job.error)
    if job.state is JobState.CANCELLED:
        raise PoseDubError("The dub was cancelled; the same command goes on from there.", ErrorKind.CANCELLED)


def _write_movie(frames: Iterable[FrameMade], job: Job, place: Place, signed: Signed, telling: Telling) -> None:
    with naming(place.out), replacing(place.out) as part:
        spec = job.request.spec
        film = _film(job, place.footage, telling)
        pictures = (_drawn(frame, film) for frame in _complete(frames, job))
        speech = spec.speech
        start = speech.start + job.request.first / spec.fps
        title, form = f"made with {weights_text(job)}", film.format if film else None
        write_movie(part, pictures, spec.fps, place.sound, start, title, speech.track, place.lead, form)
        signed.sign_movie(part, place.out.name)


def _film(job: Job, footage: Path | None, telling: Telling) -> Film | None:
    """The footage that the dub's overlays lie on in a movie."""
    source = job.request.spec.output.footage
    if footage is None or source is None:
        return None
    film = Film(open_footage(footage), source, job.request.spec.fps)
    for remark in film.remarks():
        telling.note(remark)
    return film


def _complete(frames: Iterable[FrameMade], job: Job) -> Iterator[FrameMade]:
    """The frames; PoseDubError after the last one when there were fewer than asked for."""
    count, total = 0, job.request.end - job.request.first
    for frame in frames:
        yield frame
        count += 1
    if count != total:
        raise PoseDubError(f"Only {count} of {frames_text(total)} came; the same command makes what is left.")


def _drawn(frame: FrameMade, film: Film | None) -> Drawn:
    picture = decode_png(frame.png)
    return film.picture(frame.index, picture) if film else picture
