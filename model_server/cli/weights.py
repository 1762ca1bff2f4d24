"""`posedub weights`: import the published checkpoint, look into a weights file, measure how its pose is best read."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from model_server.cli import options as shared
from model_server.cli import progress as bars
from model_server.engines.device import DEVICES

if TYPE_CHECKING:
    from model_server.engines.base import WeightsInfo


_SPOKEN, _RECORDED = 100, 0.7  # frames of a clip of rendered lips, and the part that speaks recordings


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
    info.add_argument("path", type=shared.weights_path, metavar="X.safetensors|actor", help="actor: the built-in one")
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

    quiet = actions.add_parser("quiet", help="let lips rest when sounds are no speech, and keep that in weights")
    quiet.add_argument("corpora", nargs="+", type=Path, metavar="VOICES", help="corpora of voices")
    quiet.add_argument("--weights", type=Path, metavar="X.safetensors", help="(default: the built-in ones)")
    quiet.add_argument("--recogniser", type=Path, metavar="FILE", help="another one that tells where somebody speaks")
    quiet.add_argument("--windows", type=shared.whole(256), default=6400, metavar="N", help="to learn from (6400)")
    quiet.add_argument("--keep", action="store_true", help="write it into the weights; other tensors stay as they are")
    quiet.set_defaults(run=_quiet)

    lips = actions.add_parser("lips", help="fit what tells the shape of lips from speech, for lower faces in footage")
    lips.add_argument("corpora", nargs="+", type=Path, metavar="DIR", help="corpora of speaking faces, with sound")
    lips.add_argument("--weights", type=Path, metavar="X.safetensors", help="(default: the built-in ones)")
    lips.add_argument("--ict", type=Path, metavar="ict.npz", help="head model: rendered lips as well, without pictures")
    lips.add_argument(
        "--speech", type=Path, metavar="VOICES", help="corpus of voices that rendered people speak with, too"
    )
    lips.add_argument("--people", type=shared.whole(1), default=400, metavar="N", help="rendered people (400)")
    lips.add_argument("--steps", type=shared.whole(1), default=300, metavar="N", help="of 16 stretches of 2 s (300)")
    lips.add_argument("--rendered", type=shared.number(0, 1), default=0.25, metavar="X", help="part of rendered lips")
    lips.add_argument("--gain", type=shared.number(0), default=1.0, metavar="X", help="tell lips to go so much further")
    lips.add_argument("--keep", action="store_true", help="write it into the weights; other tensors stay as they are")
    lips.set_defaults(run=_lips)


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


def _quiet(args: argparse.Namespace) -> int:
    import torch

    from model_server.cli.recogniser import chosen_recogniser
    from model_server.engines.shipped import ship_part
    from model_server.engines.weights import default_weights, describe
    from model_server.engines.weights_file import keep_part
    from model_server.networks.pcavs.presets import OPTIONAL_PARTS
    from model_server.training.pcavs.speech_gate import fit_speech_gate, ungated
    from model_server.training.pcavs.teaching_voices import TeachingVoices

    engine = ungated(describe(args.weights) if args.weights else default_weights())
    hears, device = chosen_recogniser(args.recogniser), torch.device("cpu")
    known, unknown = (TeachingVoices(args.corpora, split, hears, device) for split in ("train", "val"))
    found = fit_speech_gate(engine, known, unknown, args.windows)
    print(f"On other voices {found.kept:.1%} of speech passes, and {found.let_through:.1%} of other sounds.")
    if args.keep:
        part = OPTIONAL_PARTS["speech_gate"]
        _print(keep_part(args.weights, part, found.state) if args.weights else ship_part(part, found.state))
    return 0


def _lips(args: argparse.Namespace) -> int:
    from model_server.corpus.synthetic import Settings
    from model_server.engines.shipped import ship_part, shipped_recogniser
    from model_server.engines.speech_recogniser import load_recogniser
    from model_server.engines.weights_file import keep_part
    from model_server.errors import PoseDubError
    from model_server.files import file_digest
    from model_server.networks.pcavs.presets import OPTIONAL_PARTS
    from model_server.training.pcavs.lip_shape_fit import fit_lip_shape, rendered_takes, takes_of

    recogniser = shipped_recogniser()
    if recogniser is None:
        raise PoseDubError("The package's speech recogniser is missing, which tells lips; install PoseDub again.")
    known, unknown = (takes_of(args.corpora, split) for split in ("train", "val"))
    if args.ict:
        speech = Settings(args.ict, args.people, 1, frames=_SPOKEN, speech=args.speech, speech_share=_RECORDED)
        made = tqdm(rendered_takes(speech, range(args.people)), "lips", args.people, file=bars.stream())
        known, unknown = [*known, *islice(made, args.people * 9 // 10)], [*unknown, *made]
    with tqdm(total=args.steps, unit="step", file=bars.stream()) as bar:
        found = fit_lip_shape(
            load_recogniser(recogniser).network, file_digest(recogniser), known, unknown, args.steps, args.rendered,
            gain=args.gain, progress=bar.update,
        )  # fmt: skip
    print(f"Opening told and seen, clips not learnt from: filmed r {found.filmed:.2f}, rendered r {found.rendered:.2f}")
    if args.keep:
        part = OPTIONAL_PARTS["lip_shape"]
        _print(keep_part(args.weights, part, found.state) if args.weights else ship_part(part, found.state))
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
