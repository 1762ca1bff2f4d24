"""`posedub train`: train networks on shards. `posedub checkpoint`: carry, unpack and export what was trained."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from model_server import scratch
from model_server.cli import console
from model_server.cli import options as shared
from model_server.engines.device import DEVICES
from model_server.errors import PoseDubError
from model_server.places import folder_to_fill, try_file

if TYPE_CHECKING:
    from model_server.engines.base import WeightsInfo
    from model_server.networks.dae_talker.speech_features import SpeechNetwork
    from model_server.training.distributed import ProcessGroup
    from model_server.training.pcavs.config import Config, StageName
    from model_server.training.pcavs.teaching_voices import Lessons
    from model_server.training.timing import Progress

UNFINISHED = 3
OTHER = "choose another --out"
STAGES = ("trunk", "identity", "speech", "perceptual", "generator", "lower_face", "all")
PHONEMES = "phonemes"
ACTOR_STAGES = ("face", "pictures", "autoencoder", "latents", "speech2latent", "student")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `train` and `checkpoint`."""
    _add_train(subparsers.add_parser("train", help="train the networks on a corpus"))
    checkpoint = subparsers.add_parser("checkpoint", help="pack, unpack or export what was trained")
    actions = checkpoint.add_subparsers(required=True, metavar="ACTION")
    _add_pack(actions.add_parser("pack", help="split a run's last checkpoint into files of at most 16 MiB"))
    _add_unpack(actions.add_parser("unpack", help="join the files again, to go on training"))
    _add_export(actions.add_parser("export", help="write a run's networks as a weights file"))


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", type=Path, metavar="CONFIG", help="TOML file; or give --preset")
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="lite, full, recogniser, dae-128; on processors lite-cpu, lite-in-place-cpu, dae-cpu",
    )
    parser.add_argument(
        "--corpus", type=Path, nargs="+", action="extend", required=True, metavar="DIR", help="folders of shards"
    )
    parser.add_argument(
        "--voices", type=Path, nargs="+", action="extend", default=[], metavar="DIR", help="corpora of other voices"
    )
    parser.add_argument(
        "--recogniser",
        type=Path,
        metavar="FILE",
        help="speech recogniser that hears with dae-* presets, and finds phonemes of --voices",
    )
    parser.add_argument(
        "--wav2vec2",
        type=Path,
        metavar="FILE",
        help="wav2vec 2.0 base, for dae-* presets to hear with instead of --recogniser",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--stage", choices=(*STAGES, PHONEMES, *ACTOR_STAGES), default="all")
    parser.add_argument(
        "--from", dest="begin", type=Path, metavar="RUN", help="begin with a run's stages, or with weights"
    )
    parser.add_argument(
        "--from-stage",
        choices=(*STAGES[1:-1], *ACTOR_STAGES[1:]),
        help="the first that is trained then: anew, after weights further (generator; after weights lower_face)",
    )
    parser.add_argument(
        "--max-minutes", type=shared.number(0), default=float("inf"), metavar="N", help="leave before so long"
    )
    parser.add_argument("--resume", choices=("auto", "never"), default="auto", help="go on from the last checkpoint")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change a setting")
    parser.set_defaults(run=_train)


def _add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--light", action="store_true", help="half precision, without optimisers: no exact resume")
    parser.set_defaults(run=_pack)


def _add_unpack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN")
    parser.set_defaults(run=_unpack)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("--corpus", type=Path, nargs="*", default=[], metavar="DIR", help="to make code zero frontal")
    parser.add_argument("--out", type=Path, required=True, metavar="X.safetensors")
    parser.add_argument(
        "--onto",
        type=Path,
        metavar="BASE.safetensors",
        help="what a run learnt that went on from these: its lower faces, or all but theirs",
    )
    parser.add_argument(
        "--mouth-gain",
        type=shared.number(0.1),
        default=1.0,
        metavar="F",
        help="with --onto: lips of warped portraits open further, by that much louder speech contents (1)",
    )
    parser.add_argument(
        "--less-paint",
        type=shared.number(0),
        default=0.0,
        metavar="LOGITS",
        help="with --onto: more of the portrait, stretched, and less of what is painted (0)",
    )
    parser.add_argument("--name", default="", help="what to call the weights (default: the run's name)")
    parser.add_argument("--recogniser", type=Path, metavar="FILE", help="an actor's, if its run keeps none")
    parser.add_argument("--wav2vec2", type=Path, metavar="FILE", help="wav2vec 2.0 base, if the run hears with that")
    parser.add_argument("--student-only", action="store_true", help="an actor that is drawn in one step alone: small")
    parser.add_argument(
        "--licence", nargs="+", default=[], metavar="LINE", help="an actor's: what it was trained with, on which terms"
    )
    parser.add_argument("--ship", action="store_true", help="make them built-in ones of the package as well")
    parser.set_defaults(run=_export)


def _train(options: argparse.Namespace) -> int:
    from model_server.training import checkpoint

    train = _trainer_of(options)
    if options.resume == "never" and checkpoint.latest(options.out):
        raise PoseDubError(f"The run {options.out} has checkpoints; choose another folder or --resume auto.")
    with folder_to_fill(options.out, OTHER):
        finished = train(options)
    print(f"{'finished' if finished else 'not finished yet; the same command goes on'}: {options.out}")
    return 0 if finished else UNFINISHED


def _trainer_of(options: argparse.Namespace) -> Callable[[argparse.Namespace], bool]:
    """What trains such a preset or stage."""
    if options.stage == PHONEMES or options.preset == "recogniser":
        return _train_recogniser
    if options.stage in ACTOR_STAGES or (options.preset or "").startswith("dae-"):
        return _train_actor
    return _train_networks


def _train_recogniser(options: argparse.Namespace) -> bool:
    """Whether the phoneme recogniser is finished."""
    from model_server.training.distributed import join_group
    from model_server.training.recogniser.config import PRESETS
    from model_server.training.recogniser.trainer import RecogniserTrainer
    from model_server.training.settings import changed, parse_settings
    from model_server.training.timing import Limits

    if options.config or options.preset not in (None, *PRESETS):
        raise PoseDubError("The stage phonemes takes --preset recogniser, and --set for what is to differ.")
    console.log(logging.INFO, "%(asctime)s %(message)s")
    config = changed(PRESETS["recogniser"], parse_settings(options.set))
    trainer = RecogniserTrainer(config, options.corpus, options.out, join_group("cpu"), options.precision)
    return trainer.train(Limits(seconds=60 * options.max_minutes))


def _train_actor(options: argparse.Namespace) -> bool:
    """Whether all stages of DAE-Talker asked for are finished."""
    from model_server.engines.device import resolve_device
    from model_server.training.dae_talker.beginning import Beginning
    from model_server.training.dae_talker.config import named
    from model_server.training.dae_talker.trainer import DaeTrainer
    from model_server.training.distributed import join_group, leave_group
    from model_server.training.settings import changed, parse_settings
    from model_server.training.timing import Limits

    if options.begin and options.from_stage not in ACTOR_STAGES:
        raise PoseDubError("Say with --from-stage which stage of DAE-Talker is the first to be trained anew.")
    if options.stage not in ("all", *ACTOR_STAGES) or not options.preset:
        known = ", ".join(ACTOR_STAGES)
        raise PoseDubError(f"DAE-Talker takes --preset dae-cpu or another, and as --stage all or one of {known}.")
    process_group = join_group(resolve_device(options.device))
    console.log(logging.INFO if process_group.leads else logging.WARNING, "%(asctime)s %(message)s")
    config = changed(named(options.preset), parse_settings(options.set))
    try:
        speech = _heard_with(options, options.out)
        begin = Beginning(options.begin, options.from_stage) if options.begin else None
        trainer = DaeTrainer(
            config, options.corpus, options.out, process_group, options.precision, _report(process_group), speech, begin
        )
        stages = config.stages if options.stage == "all" else (options.stage,)
        return trainer.train(stages, Limits(seconds=60 * options.max_minutes))
    finally:
        leave_group()


def _train_networks(options: argparse.Namespace) -> bool:
    """Whether all stages asked for are finished."""
    from model_server.engines.device import resolve_device
    from model_server.training.distributed import join_group, leave_group
    from model_server.training.pcavs.config import STAGES as ALL
    from model_server.training.pcavs.loop import Limits, Trainer
    from model_server.training.pcavs.warm_start import WarmStart

    config = _config(options)
    process_group = join_group(resolve_device(options.device))
    console.log(logging.INFO if process_group.leads else logging.WARNING, "%(asctime)s %(message)s")
    stages = ALL if options.stage == "all" else (options.stage,)
    usual: StageName = "lower_face" if options.begin and options.begin.is_file() else "generator"
    first: StageName = options.from_stage or usual
    begin = WarmStart(options.begin, first) if options.begin else None
    try:
        report, lessons = _report(process_group), _lessons(options)
        trainer = Trainer(config, options.corpus, options.out, process_group, options.precision, report, begin, lessons)
        return trainer.train(stages, Limits(seconds=60 * options.max_minutes))
    finally:
        leave_group()


def _lessons(options: argparse.Namespace) -> Lessons | None:
    """What the speech stage learns from other voices."""
    from model_server.cli.recogniser import chosen_recogniser
    from model_server.training.pcavs.teaching_voices import Lessons

    return Lessons(options.voices, chosen_recogniser(options.recogniser)) if options.voices else None


def _config(options: argparse.Namespace) -> Config:
    from model_server.training.pcavs.config import named, read_config
    from model_server.training.settings import changed, parse_settings

    if bool(options.config) == bool(options.preset):
        raise PoseDubError("Give either a configuration file or --preset, for example --preset lite.")
    config = named(options.preset) if options.preset else read_config(options.config)
    return changed(config, parse_settings(options.set))


def _report(process_group: ProcessGroup) -> Callable[[Progress], None]:
    """A bar where somebody looks at one."""
    return _Bar() if process_group.leads and sys.stderr.isatty() else lambda progress: None


class _Bar:
    """Progress of the current stage on the terminal."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._bar = tqdm(unit="step")

    def __call__(self, progress: Progress) -> None:
        self._bar.total = progress.steps
        self._bar.set_description(progress.stage)
        self._bar.set_postfix_str(f"{progress.samples_per_second:.1f} samples/s, loss {progress.losses['total']:.3f}")
        self._bar.update(progress.step - self._bar.n)


def _pack(options: argparse.Namespace) -> int:
    from model_server.training import checkpoint

    last = checkpoint.latest(options.run_folder)
    if last is None:
        raise PoseDubError(f"There is no checkpoint in {options.run_folder}; train first.")
    with folder_to_fill(options.out, OTHER), scratch.folder() as folder:
        if options.light:
            last = checkpoint.save(folder, checkpoint.lightened(checkpoint.load(last)))
        files = checkpoint.pack(last, options.out)
    print(f"{len(files)} files in {options.out}")
    return 0


def _unpack(options: argparse.Namespace) -> int:
    from model_server.training import checkpoint

    with folder_to_fill(options.out, OTHER):
        print(checkpoint.unpack(options.parts, options.out))
    return 0


def _export(options: argparse.Namespace) -> int:
    from model_server.engines.shipped import ship_recogniser
    from model_server.training.checkpoint import stage_of
    from model_server.training.recogniser.export import export_recogniser

    try_file(options.out, OTHER)
    stage, name = stage_of(options.run_folder), options.name or options.run_folder.name
    if stage == PHONEMES:
        steps = export_recogniser(options.run_folder, options.out)["steps"]
        print(f"{options.out} (speech recogniser of {steps} steps)")
        if options.ship:
            print(f"Built in: {ship_recogniser(options.out)}")
        return 0
    info = _export_actor(options, name) if stage in ACTOR_STAGES else _export_networks(options, name)
    print(f"{info.path} ({info.preset}, {info.kind}), id {info.id}")
    return 0


def _export_networks(options: argparse.Namespace, name: str) -> WeightsInfo:
    from model_server.engines.shipped import ship
    from model_server.training.pcavs.export import export, export_onto

    if not options.onto and (options.mouth_gain != 1 or options.less_paint):
        raise SystemExit("posedub checkpoint export: --mouth-gain and --less-paint need --onto BASE.safetensors")
    if options.onto:
        onto = options.corpus, options.onto, options.out, options.name, options.mouth_gain, options.less_paint
        info = export_onto(options.run_folder, *onto)
    else:
        info = export(options.run_folder, options.corpus, options.out, name)
    if options.ship:
        print(f"Built in: {ship(options.out).path}")
    return info


def _export_actor(options: argparse.Namespace, name: str) -> WeightsInfo:
    from model_server.engines.shipped import ship_actor
    from model_server.training.dae_talker.export import export_actor

    speech = _heard_with(options, options.run_folder)

    def exported(path: Path, built_in: bool = False) -> WeightsInfo:
        given = name, options.student_only, options.licence
        return export_actor(options.run_folder, options.corpus, speech, path, *given, built_in)

    if options.ship:
        with scratch.folder() as folder:
            small = folder / "actor.safetensors"
            exported(small, built_in=True)
            print(f"Built in: {ship_actor(small).path}")
    return exported(options.out)


def _heard_with(options: argparse.Namespace, run: Path) -> SpeechNetwork | None:
    """What a run of DAE-Talker hears with, once it has been given that; a user's wav2vec 2.0 is given each time."""
    from model_server.cli.recogniser import chosen_recogniser
    from model_server.engines.dae_talker.wav2vec2_file import read_wav2vec2
    from model_server.training.dae_talker.hearing import kept_recogniser

    if options.wav2vec2:
        return read_wav2vec2(options.wav2vec2)
    return kept_recogniser(run, chosen_recogniser(options.recogniser) if options.recogniser else None)
