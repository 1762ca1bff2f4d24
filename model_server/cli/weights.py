"""`posedub weights`: import the published checkpoint, look into a weights file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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


def _import(args: argparse.Namespace) -> int:
    from model_server.engines.pcavs.family import import_checkpoint

    _print(import_checkpoint(args.source, args.out, args.name))
    return 0


def _info(args: argparse.Namespace) -> int:
    from model_server.engines.weights import describe

    _print(describe(args.path))
    return 0


def _print(info: WeightsInfo) -> None:
    from model_server.engines.registry import family

    engine = family(info.engine)
    counts = engine.parameter_counts(info)
    print(f"File:       {info.path}")
    print(f"Name:       {info.name}")
    print(f"Kind:       {info.kind}")
    print(f"Id:         {info.id}")
    print(f"Source:     {info.source or 'not recorded'}")
    print(f"Engine:     {engine.TRAITS.title}")
    print(f"Networks:   {info.preset}, {sum(counts.values()) / 1e6:.1f} million parameters")
    for network, count in counts.items():
        print(f"  {network.replace('_', ' '):20}{count / 1e6:5.1f} million")
