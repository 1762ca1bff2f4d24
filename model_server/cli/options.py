"""Command-line options and values that several subcommands share."""

from __future__ import annotations

import argparse
import atexit
import math
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import platformdirs

from model_server import scratch
from model_server.engines.device import DEVICES
from model_server.errors import PoseDubError
from model_server.pipeline.parameters import parameters
from model_server.places import check_readable, try_folder

if TYPE_CHECKING:
    from model_server.engines.base import WeightsInfo
    from model_server.jobs.execution.engine_pool import EnginePool

MOVIE_SUFFIXES = (".mp4", ".m4v", ".mov")
CHOICES = "precision.json"
LIBRARY_CACHES = ("NUMBA_CACHE_DIR", "MPLCONFIGDIR")
OTHER_DATA = "choose another data folder (--data)"
NTSC_TOLERANCE = Fraction(1, 100)
MAX_SECONDS = 24 * 3600
ACTOR = "actor"  # in place of a weights file
Item = TypeVar("Item")
_RATIO = re.compile(r"[0-9]{1,9}([.][0-9]{0,9}|/0*[1-9][0-9]{0,8})?", re.ASCII)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """--weights, --device, --precision and --data."""
    parser.add_argument(
        "--weights", type=weights_path, action="append", default=[], metavar="FILE|actor",
        help="safetensors weights; actor: the built-in one",
    )  # fmt: skip
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=("fp32", "bf16", "auto"), default="auto")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: the user's)")


def weights_path(text: str) -> Path:
    """A weights file by its path; "actor" is the built-in actor, unless a file is called so."""
    from model_server.engines.shipped import shipped_actor

    given = path(text)
    actor = shipped_actor() if text == ACTOR and not given.exists() else None
    return actor.path if actor and actor.path else given


def add_parameters(parser: argparse._ActionsContainer, cls: type, **bounds: str) -> None:
    """An option for each parameter among the fields of a dataclass.

    Args:
        bounds: what the help says of a parameter's range where its own bounds are not all.
    """
    for one in parameters(cls):
        name = f"--{one.name.replace('_', '-')}"
        if one.kind is bool:
            text = f"{one.text} (default: {'yes' if one.default else 'no'})"
            parser.add_argument(name, action=argparse.BooleanOptionalAction, help=text)
            continue
        read = int if one.kind is int else finite
        unit = f", in {one.unit}" if one.unit else ""
        text = f"{one.text}{unit}; {bounds.get(one.name, one.bounds)} ({one.default:g})"
        parser.add_argument(name, type=read, metavar="N" if read is int else "X", help=text)


def parameter_values(options: argparse.Namespace, cls: type) -> dict[str, Any]:
    """What was given for the parameters among the fields of a dataclass."""
    given = {one: getattr(options, one.name) for one in parameters(cls) if getattr(options, one.name) is not None}
    return {one.name: (value,) if one.each_frame else value for one, value in given.items()}


def engine_pool(options: argparse.Namespace, more: Sequence[Path] = ()) -> EnginePool:
    """The weights given, else those that are built in, and `more` beside them."""
    from model_server.sandbox import client

    client.begin()  # beside all that is loaded from here on
    choices = cache_folder(options.data) / CHOICES  # before Numba is loaded, which asks once where its own is
    if options.device != "cuda":
        from model_server.networks.cpu import loops

        loops.begin()
    from model_server.engines.weights import built_in_weights
    from model_server.jobs.execution.engine_pool import EnginePool

    given, others = given_weights(options), list(map(_described, more))
    offered = [*given, *others] if given else built_in_weights(others)
    return EnginePool(list({one.id: one for one in offered}.values()), options.device, options.precision, choices)


def given_weights(options: argparse.Namespace) -> list[WeightsInfo]:
    """Those of --weights; the files are read once for each command."""
    if "described" not in options:
        options.described = [_described(path) for path in options.weights]
    return options.described


def _described(path: Path) -> WeightsInfo:
    from model_server.engines.weights import describe

    check_readable(path)
    return describe(path)


def data_folder(options: argparse.Namespace, part: str) -> Path:
    """--data, or this user's own folder for `part` of the program, tried; PoseDubError when it takes no files."""
    folder = options.data or _own(platformdirs.user_data_dir) / part
    try_folder(folder, OTHER_DATA)
    return folder


def certificate_folder(data: Path | None = None) -> Path | None:
    """Where this user's own certificate for marks is kept; None where the user has no such folder."""
    try:
        folder = _own(platformdirs.user_data_dir) / "certificate"
        try_folder(folder)
    except PoseDubError:
        return data / "certificate" if data else None
    return folder


@cache
def cache_folder(data: Path | None = None) -> Path:
    """Where what is measured and compiled on this computer is kept.

    Where this user has no such folder, as in some containers, it is in the data folder, else with this process; for
    libraries, too, some of which do not even load without one.
    """
    try:
        folder = _own(platformdirs.user_cache_dir)
        try_folder(folder)
    except PoseDubError:
        folder = data / "caches" if data else scratch.make_folder()
        if not data:
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for name in LIBRARY_CACHES:
            os.environ.setdefault(name, str(folder))
    return folder


def _own(kind: Callable[..., str]) -> Path:
    """A folder of this user's; without a home folder it would be one named ~ wherever the command is called."""
    with suppress(RuntimeError):
        folder = Path(kind("posedub", appauthor=False))
        if folder.is_absolute():
            return folder
    raise PoseDubError("This user has no home folder; set HOME, or name a data folder with --data.")


def path(text: str) -> Path:
    """A file or folder; "" would be the current one."""
    if not text:
        raise argparse.ArgumentTypeError("its value is empty; name a file or folder")
    return Path(text)


def whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """The type of an option that takes a whole number, `low` to `high`."""
    return lambda text: int(_between(text, int, low, high))


def finite(text: str) -> float:
    """Any number; what takes it says which there may be."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return value


def number(low: float, high: float = math.inf) -> Callable[[str], float]:
    """The type of an option that takes a number, `low` to `high`."""
    return lambda text: float(_between(text, float, low, high))


def _between(text: str, read: Callable[[str], float], low: float, high: float) -> float:
    try:
        value = read(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        kind = "whole number" if read is int else "number"
        limits = f"from {low} on" if high == math.inf else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"{text!r} is no {kind} {limits}")
    return value


def seconds(text: str) -> Fraction:
    """ "2.5" or "5/2": a time in a file, which is not longer than a day."""
    if not _RATIO.fullmatch(text) or Fraction(text) > MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds; write for example 2.5")
    return Fraction(text)


def database_url(text: str) -> str:
    """Of PostgreSQL."""
    if not text.startswith(("postgresql://", "postgres://")):
        raise argparse.ArgumentTypeError(f"{text!r} is no database; write for example postgresql://user@host/name")
    return text


def blobs_url(text: str) -> str:
    """Of a place that fsspec knows."""
    if "://" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL; write for example s3://bucket/folder")
    return text


def signed_seconds(text: str) -> Fraction:
    """`seconds`, also before a file begins: "-0.5"."""
    return -seconds(text[1:]) if text.startswith("-") else seconds(text)


def is_movie(out: Path) -> bool:
    """Whether --out names a movie rather than a folder of frames."""
    return out.suffix.lower() in MOVIE_SUFFIXES


def frame_rate(text: str) -> Fraction:
    """ "25", "24000/1001" or "23.976", which means 24000/1001; `DubSpec` says which there may be."""
    if not _RATIO.fullmatch(text.removeprefix("-")):
        raise argparse.ArgumentTypeError(f"{text!r} is no frame rate; write for example 25 or 24000/1001")
    rate = Fraction(text)
    ntsc = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    return ntsc if "." in text and abs(rate - ntsc) < NTSC_TOLERANCE else rate


def frame_range(text: str) -> tuple[int, int]:
    """ "A:B", frames A <= k < B."""
    first, colon, end = text.partition(":")
    if not colon or not (first + end).isascii() or not first.isdigit() or not end.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no frame range; write FIRST:END, for example 40:53")
    return int(first), int(end)


def point(text: str) -> tuple[float, float]:
    """ "X,Y" in fractions of width and height."""
    try:
        x, y = (float(part) for part in text.split(","))
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no point; write X,Y in fractions, for example 0.3,0.5") from None
    return x, y


def spread(items: list[Item], limit: int | None) -> list[Item]:
    """At most `limit` of them, evenly spread."""
    if limit is None or limit >= len(items):
        return items
    return [items[k * len(items) // limit] for k in range(limit)]
