"""`posedub weights`: import the published checkpoint, look into a weights file, measure how its pose is best read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from model_server.cli import options as shared
from model_server.cli import progress as bars
from model_server.engines.device import DEVICES

if TYPE_CHECKING:
    from model_server.engines.base import WeightsInfo


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `weights import` and `weights info`."""
    weights = subparsers.add_parser("weights", help="import or inspect weights")
    actions = weights.add_subparsers(required=True, metavar="ACTION")

    importer = actions.add_parser("import", help="convert the published PC-AVS checkpoint to one weights file")
    importer.add_argument("source", type=Path, help="the authors' demo.zip, or a folder of *_net_*.pth files")
    importer.add_argument("--out", type=Path, required=True, metavar="X.safetensors", help="the file to write")
    importer.add_argument("--name", default="", help="what to call the weights (default: the source's name)")
    importer.set_defaults(run=_import)

    info = actions.add_parser("info", help="show what a weights file holds")
    info.add_argument("path", type=Path, metavar="X.safetensors")
    info.set_defaults(run=_info)

    pose = actions.add_parser("pose", help="measure how pose sources are best read with weights, and keep it in them")
    pose.add_argument("sources", nargs="+", type=Path, metavar="SRC", help="clips of real faces: videos, or folders")
    pose.add_argument("--weights", type=Path, metavar="X.safetensors", help="(default: the built-in ones)")
    pose.add_argument("--limit", type=shared.whole(1), metavar="N", help="at most N clips, spread over each source")
    pose.add_argument("--max-frames", type=shared.whole(1), metavar="F", help="only the first F frames of each clip")
    pose.add_argument("--device", choices=DEVICES, default="auto")
    pose.add_argument(
        "--keep", action="store_true", help="write what is best into the weights; tensors stay as they are"
    )
    pose.set_defaults(run=_pose)


def _import(args: argparse.Namespace) -> int:
    from model_server.engines.pcavs.family import import_checkpoint

    _print(import_checkpoint(args.source, args.out, args.name))
    return 0


def _info(args: argparse.Namespace) -> int:
    from model_server.engines.weights import describe

    _print(describe(args.path))
    return 0


def _pose(args: argparse.Namespace) -> int:
    from model_server.corpus.layouts import find_videos
    from model_server.engines.pcavs.engine import as_pcavs
    from model_server.engines.shipped import ship_pose_reading
    from model_server.engines.weights import default_weights, describe, load_engine
    from model_server.engines.weights_file import keep_pose_reading
    from model_server.evaluation.clips import VideoSource
    from model_server.evaluation.pose_readings import as_table, best, compare

    shared.cache_folder()
    sources = [
        VideoSource(video, args.max_frames)
        for path in args.sources
        for video in shared.spread(find_videos([path], "auto", "name"), args.limit)
    ]
    weights = describe(args.weights) if args.weights else default_weights()
    with tqdm(total=len(sources), unit="clip", file=bars.stream()) as bar:
        found = compare(sources, as_pcavs(load_engine(weights, args.device)), bar.update)
    chosen = best(found)
    print(f"{as_table(found)}\nBest: {chosen}; the weights say {weights.pose_reading}.")
    if args.keep and chosen != weights.pose_reading:
        _print(keep_pose_reading(args.weights, chosen) if args.weights else ship_pose_reading(chosen))
    return 0


def _print(info: WeightsInfo) -> None:
    from model_server.engines.registry import family, notes

    engine = family(info.engine)
    counts = engine.parameter_counts(info)
    print(f"File:       {info.path}")
    print(f"Name:       {info.name}")
    print(f"Kind:       {info.kind}")
    print(f"Id:         {info.id}")
    print(f"Source:     {info.source or 'not recorded'}")
    print(f"Pose:       read by {info.pose_reading}")
    print(f"Engine:     {engine.TRAITS.title}")
    print(f"Networks:   {info.preset}, {sum(counts.values()) / 1e6:.1f} million parameters")
    for network, count in counts.items():
        print(f"  {network.replace('_', ' '):20}{count / 1e6:5.1f} million")
    for line in notes(info):
        print(line)
