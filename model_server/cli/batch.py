"""`posedub batch`: many dubs from a list, one after the other or side by side on a server."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from model_server.cli import dub, shots
from model_server.cli import options as shared
from model_server.cli.batch_report import FAILED, BatchReport, Outcome
from model_server.cli.parser import Parser
from model_server.errors import PoseDubError
from model_server.surroundings import explained

if TYPE_CHECKING:
    from model_server.cli.timeline import Timeline
    from model_server.jobs.in_process import LocalServer
    from model_server.jobs.model import Event, FrameMade, Job
    from model_server.service.remote import RemoteServer

AT_ONCE_ON_A_SERVER = 4
UNEXPECTED = "hit an unexpected problem"
_FRAMES = ("pose", "into")
_OF_ALL = (
    "device",
    "precision",
    "data",
    "server",
    "token_file",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "mark_cert",
    "mark_key",
)
_LIST = "CSV with a header of `posedub dub`'s options, JSON of the same, PC-AVS's demo.csv, or a timeline (.otio)"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("batch", help="make the dubs of a list, and report which of them failed and why")
    parser.set_defaults(run=run)
    parser.add_argument("list", type=Path, metavar="LIST", help=_LIST)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where relative places begin (default: beside the list)"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="JSON, read by the next run (DIR/LIST.report.json)")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="the report as JUnit XML, too")
    parser.add_argument(
        "--at-once",
        type=shared.whole(1, 64),
        metavar="N",
        help=f"shots side by side (1, on a server {AT_ONCE_ON_A_SERVER})",
    )
    dub.add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Make what is left of the list; the exit code is 1 when a shot failed."""
    from model_server.places import try_folder

    edit = _timeline(options.list)
    listed = edit.shots if edit else shots.read_shots(options.list)
    out = options.out or options.list.parent
    try_folder(out)
    path = options.report or out / f"{options.list.name}.report.json"
    batch = Batch(options, out, BatchReport(options.list, path, options.junit))
    batch.make(listed)
    if edit:
        edit.write(batch.report.outcomes, out / f"{options.list.stem}.dubbed.otio")
    failed = len(batch.report.failed)
    print(f"{len(listed) - failed} of {len(listed)} shots done, {failed} failed; report in {path}")
    return 1 if failed else 0


def _timeline(path: Path) -> Timeline | None:
    """The edit of an .otio; None for other lists."""
    from model_server.cli.timeline import Timeline

    return Timeline(path) if path.suffix.lower() == ".otio" else None


class Batch:
    """Makes shots with one server.

    Args:
        options: of the command.
        out: where shots' relative places begin.
    """

    def __init__(self, options: argparse.Namespace, out: Path, report: BatchReport) -> None:
        self._options, self._out = options, out
        self.report = report
        self._running: dict[str, Job] = {}
        self._printing = threading.Lock()

    def make(self, listed: list[shots.Shot]) -> None:
        """All of them, whatever becomes of each."""
        at_once = self._options.at_once or (AT_ONCE_ON_A_SERVER if self._options.server else 1)
        with dub.open_server(self._options, self._weights(listed)) as server:
            pool = ThreadPoolExecutor(at_once, "shot")
            waiting = {pool.submit(self._shot, shot, server) for shot in listed}
            try:
                while waiting:
                    done, waiting = wait(waiting, 1.0, FIRST_COMPLETED)
                    for one in done:
                        one.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for job in list(self._running.values()):
                    server.leave(job)
                raise

    def _weights(self, listed: Iterable[shots.Shot]) -> list[Path]:
        """Those that shots name, where they can be read; the shots of the other ones say what is wrong."""
        if self._options.server:
            return []
        named = {_weights(shot, shot.options["weights"]): None for shot in listed if "weights" in shot.options}
        return [path for path in named if _readable(path)]

    def _shot(self, shot: shots.Shot, server: LocalServer | RemoteServer) -> None:
        began, told = time.monotonic(), Told(shot.name, self._running)
        try:
            outcome, text = self._made(shot, server, told)
        except Exception as error:  # noqa: BLE001 - thread boundary: the other shots go on
            outcome = Outcome(shot.name, FAILED, error=_sentence(error, shot), notes=tuple(told.notes))
            text = outcome.error
        finally:
            self._running.pop(shot.name, None)
        self.report.add(replace(outcome, seconds=round(time.monotonic() - began, 3)))
        with self._printing:
            print(outcome.line(text), flush=True)

    def _made(self, shot: shots.Shot, server: LocalServer | RemoteServer, told: Told) -> tuple[Outcome, str]:
        from model_server.cli import output, target

        options = self._parsed(shot)
        dub.check(options)
        kept = False

        def written(job: Job) -> bool:
            nonlocal kept
            kept = self._lies_there(shot.name, options.out, job)
            return kept

        with target.tried(options.out, options.data):
            job = dub.make(options, server, told, written)
        state = "kept" if kept else "done"
        first, count = job.request.first, job.request.end - job.request.first
        outcome = Outcome(shot.name, state, str(options.out), job.id, first, count, notes=tuple(told.notes))
        return outcome, output.done_text(job, options.out)

    def _lies_there(self, name: str, out: Path, job: Job) -> bool:
        from model_server.cli.frames_folder import holds
        from model_server.pipeline.movies.writer import is_dub

        if not (job.state.final and self.report.made(name, job.id)):
            return False
        return is_dub(out) if shared.is_movie(out) else holds(out, job)

    def _parsed(self, shot: shots.Shot) -> argparse.Namespace:
        """The options of `posedub dub` that a shot means; PoseDubError where one is wrong."""
        if shot.problem:
            raise PoseDubError(shot.problem)
        parser = _RowParser(add_help=False)
        dub.add_options(parser)
        parser.add_argument("--consent")
        parser.add_argument("--weights", type=Path, action="append", default=[])
        places = {"out": self._out / shot.options.get("out", shot.name)}
        options = parser.parse_args(list(parser.words(shot, places)))
        for name in _OF_ALL:
            setattr(options, name, getattr(self._options, name))
        options.consent = options.consent or self._options.consent
        options.weights = options.weights or self._options.weights
        for name in _FRAMES:
            given = getattr(options, name)
            if given and given.is_dir():
                setattr(options, name, self._movie(given, options.fps))
        if options.portrait and options.portrait.is_dir():
            options.portrait = _first_frame(options.portrait)
        return options

    def _movie(self, folder: Path, fps: Fraction | None) -> Path:
        from model_server.pipeline.movies.frames_movie import movie_of_frames

        kept_in = shared.cache_folder(self._options.data) / "frames"
        return movie_of_frames(folder, fps or dub.DEFAULT_RATE, kept_in)


class _RowParser(Parser):
    """Reads what a list says of a shot; what is wrong fails that shot alone."""

    def error(self, message: str) -> NoReturn:
        raise PoseDubError(f"{message}{self.form_of(message)}.")

    def words(self, shot: shots.Shot, places: dict[str, Path]) -> Iterator[str]:
        """A shot as a command line."""
        for name, text in {**shot.options, **{key: str(value) for key, value in places.items()}}.items():
            action = self._option_string_actions.get(f"--{name}")
            if action is None:
                raise PoseDubError(f"{shot.where} has a column {name!r}, which is no option of posedub dub.")
            if isinstance(action, argparse.BooleanOptionalAction):
                yield f"--{'' if _truth(name, text) else 'no-'}{name}"
            elif action.type is shared.weights_path:
                yield f"--{name}={_weights(shot, text)}"
            elif action.type is Path and name not in places:
                yield f"--{name}={shot.path(text)}"
            else:
                yield f"--{name}={text}"


class Told:
    """Hears of one shot's dub.

    Attributes:
        notes: what is to be known of the result.
    """

    def __init__(self, name: str, running: dict[str, Job]) -> None:
        self._name, self._running = name, running
        self.notes: list[str] = []

    def frames(self, events: Iterable[Event], job: Job) -> Generator[FrameMade]:
        """The frames among the events."""
        from model_server.cli import output
        from model_server.jobs.model import Ended, FrameMade, Warned

        self._running[self._name] = job
        for event in events:
            if isinstance(event, FrameMade):
                yield event
            elif isinstance(event, Warned):
                self.notes.append(output.warning_text(event, job.request.spec))
            elif isinstance(event, Ended):
                output.check_end(event.job)

    def note(self, sentence: str) -> None:
        """Something about the result."""
        self.notes.append(sentence)


def _sentence(error: Exception, shot: shots.Shot) -> str:
    problem = explained(error)
    return problem.message if problem else f"{shot.where} {UNEXPECTED} ({type(error).__name__}: {error}); report it."


def _truth(name: str, text: str) -> bool:
    truths = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in truths:
        raise PoseDubError(f"{name} is yes or no, not {text!r}.")
    return truths[text.lower()]


def _weights(shot: shots.Shot, text: str) -> Path:
    """The weights file that a shot names, or the built-in one."""
    path = shot.path(text)
    return shared.weights_path(text) if text == shared.ACTOR and not path.exists() else path


def _first_frame(folder: Path) -> Path:
    from model_server.pipeline.movies.frames_movie import frames_in

    return frames_in(folder)[0]


def _readable(path: Path) -> bool:
    from model_server.engines.weights import describe

    try:
        describe(path)
    except (PoseDubError, OSError):
        return False
    return True
