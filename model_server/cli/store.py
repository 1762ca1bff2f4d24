"""`posedub store`: what the data folder holds, removing what is old, and checking that it is as it was made."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from model_server.cli import options as shared

if TYPE_CHECKING:
    from model_server.jobs.retention import Limits
    from model_server.jobs.store import Store

DEFAULT_GIB, DEFAULT_DAYS = 100.0, 90.0
_FAILED = 1
_MIB = 2**20


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommands."""
    parser = commands.add_parser("store", help="show, prune or verify what dubs have left in the data folder")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="how much there is, and how much may go")
    prune = actions.add_parser("prune", help="remove what is old, then the least recently used until the rest fits")
    verify = actions.add_parser("verify", help="compare every file with its hash; 1 when any is damaged or missing")
    for action, run in ((show, _show), (prune, _prune), (verify, _verify)):
        action.set_defaults(run=run)
        action.add_argument("--data", type=shared.path, metavar="DIR", help="data folder (default: the user's)")
        action.add_argument(
            "--store",
            type=shared.database_url,
            metavar="URL",
            help="database that lists the dubs, where it is not in the data folder",
        )
        action.add_argument("--blobs", type=shared.blobs_url, metavar="URL", help="of its files")
        action.add_argument("--command", action="store_true", help="of the command's own dubs, not of the server's")
    add_limits(prune)
    verify.add_argument("--repair", action="store_true", help="have damaged frames made again by the server")


def add_limits(parser: argparse.ArgumentParser) -> None:
    """--keep-gib and --keep-days."""
    size, days = shared.number(0), shared.number(0)
    parser.add_argument(
        "--keep-gib", type=size, default=DEFAULT_GIB, metavar="GIB", help=f"limit of size, 0: none ({DEFAULT_GIB:g})"
    )
    parser.add_argument(
        "--keep-days", type=days, default=DEFAULT_DAYS, metavar="DAYS", help=f"limit of age, 0: none ({DEFAULT_DAYS:g})"
    )


def limits(options: argparse.Namespace) -> Limits:
    """What `add_limits` read."""
    from model_server.jobs.retention import Limits

    return Limits.of(options.keep_gib, options.keep_days)


def _store(options: argparse.Namespace) -> Store:
    from model_server.jobs.store import Store

    folder = shared.data_folder(options, "command" if options.command else "server")
    return Store(folder, options.store or "", options.blobs or "")


def _show(options: argparse.Namespace) -> int:
    from model_server.jobs.retention import usage

    store = _store(options)
    held = usage(store)
    print(f"{store.folder}: {held.size / _MIB:.1f} MiB in {held.contents} files, {held.jobs} dubs")
    print(f"{held.kept} dubs run, wait, were used within the hour or are listed as takes, and stay")
    print(f"{held.removable / _MIB:.1f} MiB may go: posedub store prune")
    return 0


def _prune(options: argparse.Namespace) -> int:
    from model_server.jobs.retention import prune

    done = prune(_store(options), limits(options))
    print(f"{done.jobs} dubs and {done.contents} files removed, {done.size / _MIB:.1f} MiB")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from model_server.jobs.retention import verify

    with tqdm(unit="file", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = verify(_store(options), options.repair, progress)
    print(f"{found.contents} files read, {len(found.damaged)} damaged; {len(found.jobs)} dubs lack frames")
    for sha in found.damaged:
        print(f"  damaged: {sha}")
    if not (found.damaged or found.jobs):
        return 0
    if options.repair:
        print("Damaged files were removed; frames that lack are made again by the server, or when they are asked for.")
        return 0
    print("posedub store verify --repair has them made again.")
    return _FAILED
