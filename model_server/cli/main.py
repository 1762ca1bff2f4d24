"""Entry point of the `posedub` command; each subcommand loads what it needs when it runs."""

from __future__ import annotations

import argparse
import io
import os
import sys

from model_server import __version__
from model_server.cli import bench, corpus, doctor, dub, evaluate, serve, train, weights
from model_server.errors import PoseDubError

INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The command line of all subcommands."""
    top = argparse.ArgumentParser(prog="posedub", description="Talking faces from a portrait, speech and head pose.")
    top.add_argument("--version", action="version", version=f"posedub {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for module in (dub, serve, weights, doctor, corpus, train, evaluate, bench):
        module.add_parser(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 0, 1 for a stated problem, 2 for wrong usage."""
    # Waiting threads that spin take the processor from Blender: with both at work a frame takes 30 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may have characters that a console or a pipe lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except PoseDubError as error:
        print(f"posedub: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("posedub: interrupted; finished frames are kept, the same command goes on from there", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
