"""Entry point of the `posedub` command; each subcommand loads what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from model_server import __version__
from model_server.cli import console, watcher
from model_server.cli.parser import Parser
from model_server.errors import PoseDubError
from model_server.surroundings import explained

FAILED, INTERRUPTED, UNREAD = 1, 130, 141


def parser() -> argparse.ArgumentParser:
    """The command line of all subcommands."""
    # Here, where an interrupt is caught already.
    from model_server.cli import (
        batch,
        bench,
        corpus,
        doctor,
        dub,
        evaluate,
        marks,
        serve,
        store,
        train,
        weights,
        worker,
    )

    top = Parser(prog="posedub", description="Talking faces from a portrait, speech and head pose.")
    top.add_argument("--version", action="version", version=f"posedub {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for module in (dub, batch, serve, worker, store, weights, doctor, corpus, train, evaluate, bench):
        module.add_parser(commands)
    marks.add_parsers(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 0, 1 for a stated problem, 2 for wrong usage, else that of a signal.

    Args:
        arguments: None for those of the process, which is then the command's own.
    """
    # Waiting threads that spin take the processor from Blender: with both at work a frame takes 30 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if arguments is not None:
        return _run(arguments)
    _end_in_order()
    console.prepare()
    try:
        code = _run(None)
        if code in (UNREAD, FAILED):
            console.hang_up()
        return code
    finally:
        watcher.dismiss()


def _run(arguments: list[str] | None) -> int:
    try:
        try:
            options = parser().parse_args(arguments)
            _check_folder()
            return options.run(options)
        finally:
            console.flush()
    except BrokenPipeError:
        return UNREAD
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second time ends at once
        watcher.dismiss()
        console.say("interrupted; what is finished is kept, the same command goes on from there.")
        return INTERRUPTED
    except Exception as error:  # boundary of the process: for what it cannot help, a sentence and no traceback
        problem = explained(error)
        if problem is None:
            raise
        console.say(problem.message)
        return FAILED


def _check_folder() -> None:
    """Some libraries end the process where the folder it was started in is gone."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise PoseDubError("The folder that this was started in is gone; change to another one.") from error


def _end_in_order() -> None:
    """Asked to end, or left by its terminal, the process leaves its blocks, which tidy up."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, leave)


if __name__ == "__main__":
    sys.exit(main())
