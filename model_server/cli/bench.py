"""`posedub bench`: how fast frames are made, beside a direct implementation of the published inference."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from model_server.cli import options as shared
from model_server.cli import progress
from model_server.engines.device import DEVICES
from model_server.errors import PoseDubError
from model_server.files import write_text
from model_server.places import try_file

if TYPE_CHECKING:
    from model_server.bench.inputs import Inputs
    from model_server.engines.base import WeightsInfo
    from model_server.networks.pcavs.presets import PresetName

PRESETS: tuple[PresetName, ...] = ("lite", "full")
LENGTHS = (10.0, 60.0, 600.0)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("bench", help="measure speed: the server's path beside a direct implementation")
    parser.set_defaults(run=run)
    parser.add_argument("--preset", choices=("lite", "full", "both"), default="both")
    parser.add_argument("--weights", type=Path, action="append", default=[], metavar="FILE", help="of a preset")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=("fp32", "bf16", "auto"), default="auto", help="of the fast path")
    parser.add_argument("--seconds", type=shared.number(0.1), default=2.0, metavar="S", help="length of the dub (2)")
    parser.add_argument("--repeats", type=shared.whole(1), default=3, metavar="N", help="of each measurement (3)")
    parser.add_argument("--batches", type=_counts, default=(), metavar="N,N", help="of the generator's ceiling share")
    parser.add_argument("--serve", action="store_true", help="measure a server process through gRPC, too")
    parser.add_argument("--lengths", type=_lengths, default=LENGTHS, metavar="S,S", help="of long clips (10,60,600)")
    parser.add_argument("--jobs", type=shared.whole(1), default=4, metavar="N", help="at once on a server (4)")
    parser.add_argument("--into", type=_sizes, default=(), metavar="WxH,WxH", help="dubs into footage, on servers, too")
    parser.add_argument(
        "--actor", type=shared.weights_path, action="append", default=[], metavar="FILE|actor",
        help="measure this actor on servers, nothing else",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=shared.whole(1), nargs="+", default=[1], metavar="N", help="in which actors are drawn (1)"
    )
    parser.add_argument("--portrait", type=Path, metavar="FILE", help="instead of the demo's")
    parser.add_argument("--audio", type=Path, metavar="FILE", help="instead of the demo's")
    parser.add_argument("--pose", type=Path, metavar="FILE", help="instead of the demo's")
    parser.add_argument("--crop", choices=("auto", "aligned"), default="auto", help="aligned: faces are crops already")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table and write the JSON."""
    shared.cache_folder()
    from model_server.bench.run import Settings
    from model_server.bench.run import run as measure

    if options.json:
        try_file(options.json, "choose another --json")
    settings = Settings(
        _inputs(options),
        _weights(options),
        options.device,
        options.precision,
        options.seconds,
        options.repeats,
        options.batches,
        options.serve,
        options.lengths,
        options.jobs,
        options.into,
        _actors(options),
        options.steps,
    )
    with tqdm(bar_format="{desc} [{elapsed}]", file=progress.stream()) as bar:
        report = measure(settings, lambda text: bar.set_description_str(text))
    if options.json:
        write_text(options.json, report.to_json())
    print(report.to_markdown())
    return 0


def _inputs(options: argparse.Namespace) -> Inputs:
    """The files given; the demo's in place of those that are not."""
    from model_server.bench.inputs import Inputs, demo_inputs

    given = {"portrait": options.portrait, "speech": options.audio, "pose": options.pose}
    own = {name: path for name, path in given.items() if path}
    demo = {} if len(own) == len(given) else vars(demo_inputs())
    return Inputs(**{**demo, **own, "crop": options.crop})


def _weights(options: argparse.Namespace) -> list[WeightsInfo]:
    """For each preset the file that fits it, else the built-in weights."""
    from model_server.engines.pcavs.weights import untrained
    from model_server.engines.weights import default_weights, describe

    presets: tuple[PresetName, ...] = PRESETS if options.preset == "both" else (options.preset,)
    given = [describe(path) for path in options.weights]
    for info in given:
        if info.preset not in presets:
            raise PoseDubError(f"{info.path} holds {info.preset} weights; choose --preset {info.preset}.")
    offered = {info.preset: info for info in (default_weights(), *given)}
    return [offered.get(preset) or untrained(preset) for preset in presets]


def _actors(options: argparse.Namespace) -> list[WeightsInfo]:
    from model_server.engines import registry
    from model_server.engines.weights import describe

    given = [describe(path) for path in options.actor]
    for info in given:
        if registry.traits(info).portrait:
            raise PoseDubError(f"{info.path} draws no actor but a portrait; give it with --weights.")
        if max(options.steps) > 1 and "steps" not in registry.traits(info).parameters:
            raise PoseDubError(f"{info.path} draws in one step only; leave --steps out.")
    return given


def _counts(text: str) -> tuple[int, ...]:
    """ "1,8,32": positive numbers."""
    return tuple(int(value) for value in _lengths(text))


def _lengths(text: str) -> tuple[float, ...]:
    """ "10,60": positive seconds; "" for none."""
    try:
        values = tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers; write for example 10,60,600") from None
    if any(value <= 0 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} holds a number that is not positive")
    return values


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    """ "1920x1080,3840x2160": even widths and heights."""
    try:
        sizes = tuple((int(width), int(height)) for width, height in (part.split("x") for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of sizes; write for example 1920x1080") from None
    if any(side < 64 or side % 2 for size in sizes for side in size):
        raise argparse.ArgumentTypeError(f"{text!r} holds a side that is odd or less than 64")
    return sizes
