"""`posedub evaluate`: figures of weights on videos or a corpus, beside true frames and baselines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from model_server.cli import console
from model_server.cli import options as shared
from model_server.cli import progress as bars
from model_server.cli.evaluate_actor import actors_of, draws_an_actor, sections
from model_server.engines.base import POSE_READINGS, PoseReadingChoice
from model_server.engines.device import DEVICES
from model_server.errors import PoseDubError
from model_server.files import write_text
from model_server.places import check_readable, folder_to_fill, try_file
from model_server.surroundings import naming

if TYPE_CHECKING:
    from model_server.engines.base import Precision, WeightsInfo
    from model_server.engines.pcavs.engine import PcavsEngine
    from model_server.evaluation.clips import EvalSource
    from model_server.evaluation.generate import FilmMaker, Generator
    from model_server.evaluation.measure import Instruments
    from model_server.evaluation.sync.judge import SyncJudge
    from model_server.evaluation.views import Pictures

OUT = Path("evaluation")
OTHER = "choose another --out"
GALLERY = 20  # people to tell apart
TITLES = {"movement": "movement of its own", "reconstruction": "unseen frames drawn of their own latents"}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("evaluate", help="measure weights: speech, pose, identity, picture quality")
    parser.set_defaults(run=run)
    parser.add_argument("sources", nargs="*", type=Path, metavar="SRC", help="corpora, folders of videos, or videos")
    parser.add_argument("--split", default="test", choices=("train", "val", "test", "all"), help="of corpora (test)")
    parser.add_argument("--limit", type=shared.whole(1), metavar="N", help="at most N clips, spread over each source")
    parser.add_argument("--max-frames", type=shared.whole(1), metavar="F", help="only the first F frames")
    parser.add_argument("--layout", choices=("auto", "voxceleb2", "lrw", "grid", "flat"), default="auto")
    parser.add_argument("--identity-from", choices=("folder", "name"), default="name", help="of flat layouts (name)")
    _add_weights_options(parser)
    parser.add_argument(
        "--pose-source",
        choices=("rendered", "generated", "frozen"),
        help="whose head moves: synthetic people rendered anew (--ict) or drawn, or the clip itself, mouth frozen",
    )
    parser.add_argument(
        "--pose-reading",
        choices=("auto", *POSE_READINGS),
        default="auto",
        help="of pose sources, as in dubs (default: what the weights say)",
    )
    parser.add_argument("--ict", type=Path, metavar="FILE", help="ict.npz, to render pose sources of synthetic clips")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="sync judge (default: the built-in one)")
    parser.add_argument(
        "--train-judge", type=shared.number(0), metavar="MINUTES", help="train --judge on the corpora SRC; no more"
    )
    parser.add_argument(
        "--voices", type=Path, nargs="+", default=[], metavar="DIR", help="corpora from which --train-judge hears more"
    )
    parser.add_argument(
        "--judge-seed", type=int, default=0, metavar="N", help="another one makes another judge, to train with (0)"
    )
    parser.add_argument(
        "--syncnet", type=Path, metavar="FILE", help="the official syncnet_v2.model, for LSE-C and LSE-D"
    )
    parser.add_argument(
        "--identity-weights", type=Path, metavar="FILE", help="whose identity encoder recognises people"
    )
    parser.add_argument("--portraits", type=Path, metavar="DIR", help="more people to tell apart, one picture each")
    parser.add_argument(
        "--recogniser",
        type=Path,
        metavar="FILE",
        help="only measure this speech recogniser, on corpora of voices and on GRID's videos",
    )
    _add_single_measures(parser)
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="NAME", help="writes NAME.json and NAME.md (evaluation)"
    )


def _add_single_measures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turn", type=Path, metavar="DIR", help="only turn the heads of these pictures and measure")
    parser.add_argument(
        "--rendered-turns",
        type=shared.whole(1),
        metavar="N",
        help="only turn heads of N rendered people far (--ict)",
    )
    parser.add_argument(
        "--in-place", action="store_true", help="only measure lower faces drawn into the clips, of weights that can"
    )
    parser.add_argument(
        "--quiet", type=Path, metavar="DIR", help="only see whether lips rest without speech (SRC: voices)"
    )


def run(options: argparse.Namespace) -> int:
    """Train the judge, or evaluate and write the tables."""
    if not (options.turn or options.rendered_turns or options.sources):
        raise SystemExit("posedub evaluate: name corpora, folders of videos or videos")
    if options.train_judge:
        return _train_judge(options)
    for path in filter(None, (options.ict, options.judge, options.syncnet, options.identity_weights)):
        check_readable(path)
    shared.cache_folder()
    with _result_place(options):
        if options.recogniser:
            return _recogniser(options)
        if options.in_place:
            return _in_place(options)
        if options.quiet:
            return _quiet(options)
        if options.rendered_turns:
            return _turned(options)
        return _turn(options) if options.turn else _evaluate(options)


def _recogniser(options: argparse.Namespace) -> int:
    from model_server.cli.recogniser import evaluate

    table = evaluate(options)
    write_text(options.out.with_suffix(".md"), table)
    print(table)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from model_server.evaluation.actor_movement import as_table as figures_table
    from model_server.evaluation.evaluate import Settings, evaluate
    from model_server.evaluation.report import as_json, as_markdown

    actors = actors_of(options)
    plain = not actors or not all(map(draws_an_actor, options.weights))
    engines = _engines(options) if plain else {}
    generators: dict[str, FilmMaker] = {n: _generator(engine, options.pose_reading) for n, engine in engines.items()}
    generators |= actors
    instruments = _instruments(options, next(iter(engines.values()), None) or _shipped(options))
    settings = Settings(options.pose_source, options.ict)
    with tqdm(unit="clip", file=bars.stream()) as bar:

        def progress(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        sources = _sources(options)
        outcome = evaluate(sources, generators, instruments, settings, _portraits(options), progress)
    notes = _notes(engines, instruments)
    document, table = as_json(outcome, notes), as_markdown(outcome, notes)
    for kind, name, figures in sections(actors, sources, instruments.reader, options.steps):
        document.setdefault(kind, {})[name] = {figure.title: figure.values for figure in figures}
        table += f"\n## {name}: {TITLES[kind]}\n\n{figures_table(figures)}"
    write_text(options.out.with_suffix(".json"), json.dumps(document, indent=1) + "\n")
    write_text(options.out.with_suffix(".md"), table)
    print(table)
    return 0


def _add_weights_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", type=shared.weights_path, nargs="+", action="extend", default=[], metavar="FILE|actor",
        help="or runs; one row for each",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=shared.whole(1), nargs="+", default=[1], metavar="N", help="in which actors are drawn (1)"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=("fp32", "bf16", "auto"), default="auto")


def _train_judge(options: argparse.Namespace) -> int:
    from model_server.cli.recogniser import chosen_recogniser
    from model_server.evaluation.sync.judge_training import Settings, train_judge
    from model_server.evaluation.sync.voice_lessons import Voices

    if not options.judge:
        raise SystemExit("posedub evaluate: --train-judge needs --judge FILE to write to")
    try_file(options.judge, "choose another --judge")
    console.log(form="%(message)s")
    voices = Voices(options.voices, chosen_recogniser(None)) if options.voices else None
    settings = Settings(minutes=options.train_judge, seed=options.judge_seed)
    judge = train_judge(options.sources, settings, voices)
    judge.save(options.judge)
    print(f"{options.judge}: {json.dumps(judge.facts)}")
    return 0


def _turn(options: argparse.Namespace) -> int:
    from model_server.evaluation.pose_sweep import as_table, turn

    stills = _stills(options.turn)
    engines = _engines(options)
    tools = _instruments(options, next(iter(engines.values())))
    others = [*_portraits(options), *(source.portrait() for source in _strangers(_sources(options)))]
    others = others[: max(0, GALLERY - len(stills))]
    parts = []
    for name, engine in engines.items():
        title = f"# {name}: heads turned, persons told apart among {len(stills) + len(others)}"
        parts.append(f"{title}\n\n{as_table(turn(stills, others, engine, tools))}")
    write_text(options.out.with_suffix(".md"), "\n".join(parts))
    print("\n".join(parts))
    return 0


def _turned(options: argparse.Namespace) -> int:
    from model_server.cli.in_place import turned

    if not options.ict:
        raise SystemExit("posedub evaluate: --rendered-turns needs --ict FILE to render people")
    return _told(options, turned(_engines(options), options.ict, options.rendered_turns))


def _in_place(options: argparse.Namespace) -> int:
    from model_server.cli.in_place import in_place
    from model_server.evaluation.sync.judge import BUILT_IN, load_judge

    return _told(options, in_place(_sources(options), _engines(options), load_judge(options.judge or BUILT_IN)))


def _quiet(options: argparse.Namespace) -> int:
    from model_server.cli.in_place import quiet

    engines = _engines(options)
    tools = _instruments(options, next(iter(engines.values())))
    return _told(options, quiet(options, _stills(options.quiet), engines, tools))


def _told(options: argparse.Namespace, table: str) -> int:
    """Keep a table, and show it."""
    write_text(options.out.with_suffix(".md"), table)
    print(table)
    return 0


def _stills(folder: Path) -> dict[str, Pictures]:
    """Network views of the portraits in a folder."""
    from model_server.evaluation.clips import portrait_of

    pictures = _pictures(folder)
    if not pictures:
        raise PoseDubError(f"The folder {folder} holds no pictures; give one with portraits.")
    return {path.stem: portrait_of(path) for path in pictures}


def _strangers(sources: list[EvalSource]) -> list[EvalSource]:
    """One take of each person."""
    return list({source.identity: source for source in sources}.values())


def _engines(options: argparse.Namespace) -> dict[str, PcavsEngine]:
    from model_server.engines.pcavs.engine import as_pcavs
    from model_server.engines.weights import describe, load_engine

    engines: dict[str, PcavsEngine] = {}
    arithmetic = options.device, options.precision
    for path in options.weights:
        if draws_an_actor(path):
            continue
        engine = _of_run(path, options) if path.is_dir() else as_pcavs(load_engine(describe(path), *arithmetic))
        engines[_row_name(engine.weights, path, engines)] = engine
    if not engines:
        engine = _shipped(options)
        engines[engine.weights.name] = engine
    return engines


def _shipped(options: argparse.Namespace) -> PcavsEngine:
    """The built-in weights."""
    from model_server.engines.pcavs.engine import as_pcavs
    from model_server.engines.weights import default_weights, load_engine

    return as_pcavs(load_engine(default_weights(), options.device, options.precision))


def _of_run(run: Path, options: argparse.Namespace) -> PcavsEngine:
    """The networks of a run; its code 0 is made frontal by the corpora among the sources."""
    from model_server.corpus.shards import INDEX
    from model_server.engines.device import resolve_device
    from model_server.training.pcavs.export import run_engine

    precision: Precision = "bf16" if options.precision == "bf16" else "fp32"
    corpora = [path for path in options.sources if (path / INDEX).is_file()]
    return run_engine(run, corpora, resolve_device(options.device), precision)


def _row_name(info: WeightsInfo, path: Path, taken: dict[str, PcavsEngine]) -> str:
    """Name of the weights, with the file's where two share one."""
    return f"{info.name} ({path.stem})" if info.name in taken else info.name


def _generator(engine: PcavsEngine, reading: PoseReadingChoice) -> Generator:
    from model_server.evaluation.generate import Generator

    return Generator(engine, reading=reading)


def _instruments(options: argparse.Namespace, first: PcavsEngine) -> Instruments:
    from model_server.corpus.mesh import MeshReader
    from model_server.engines.pcavs.engine import as_pcavs
    from model_server.engines.weights import describe, load_engine
    from model_server.evaluation.measure import Instruments
    from model_server.evaluation.sync.syncnet import load_syncnet

    chosen = options.identity_weights
    return Instruments(
        MeshReader(),
        as_pcavs(load_engine(describe(chosen), options.device)) if chosen else first,
        _judge(options.judge),
        load_syncnet(options.syncnet) if options.syncnet else None,
    )


def _judge(path: Path | None) -> SyncJudge | None:
    """The judge that is named, else the package's own where it has one."""
    from model_server.evaluation.sync.judge import BUILT_IN, load_judge

    return load_judge(path or BUILT_IN) if path or BUILT_IN.is_file() else None


def _sources(options: argparse.Namespace) -> list[EvalSource]:
    from model_server.corpus.shards import INDEX

    found: list[EvalSource] = []
    for path in options.sources:
        takes = _from_corpus(path, options) if (path / INDEX).is_file() else _from_videos(path, options)
        found += shared.spread(takes, options.limit)
    return found


def _from_corpus(folder: Path, options: argparse.Namespace) -> list[EvalSource]:
    from model_server.corpus.actor.clips import is_actor_corpus
    from model_server.corpus.shards import Corpus
    from model_server.evaluation.actor_clips import ActorSource
    from model_server.evaluation.clips import CorpusSource

    corpus = Corpus.open(folder)
    names = corpus.names(None if options.split == "all" else options.split)
    if not names:
        raise PoseDubError(f"The corpus {folder} has no clip in its {options.split} split; choose another --split.")
    if is_actor_corpus(corpus):
        return [ActorSource(corpus, name, options.max_frames) for name in names]
    return [CorpusSource(corpus, name) for name in names]


def _from_videos(path: Path, options: argparse.Namespace) -> list[EvalSource]:
    from model_server.corpus.layouts import find_videos
    from model_server.evaluation.clips import VideoSource

    videos = find_videos([path], options.layout, options.identity_from)
    return [VideoSource(video, options.max_frames) for video in videos]


def _portraits(options: argparse.Namespace) -> list[Pictures]:
    from model_server.evaluation.clips import portrait_of

    return [portrait_of(path) for path in _pictures(options.portraits)] if options.portraits else []


def _pictures(folder: Path) -> list[Path]:
    from model_server.pipeline.media.stills import is_image

    with naming(folder):
        return [path for path in sorted(folder.iterdir()) if path.is_file() and is_image(path)]


def _notes(engines: dict[str, PcavsEngine], instruments: Instruments) -> dict[str, str]:
    """What a reader must know of the rows and the instruments."""
    rows = {
        name: f"{e.weights.kind} {e.weights.preset} weights {e.weights.id[:12]}, pose {e.weights.pose_reading}"
        for name, e in engines.items()
    }
    recogniser = instruments.recogniser.weights
    rows["identity encoder"] = f"of the {recogniser.kind} weights {recogniser.name}"
    rows["sync judge"] = json.dumps(instruments.judge.facts) if instruments.judge else "none (--judge)"
    rows["SyncNet"] = "the user's file" if instruments.syncnet else "none (--syncnet), so no LSE-C and LSE-D"
    return rows


@contextmanager
def _result_place(options: argparse.Namespace) -> Iterator[None]:
    """The place of the tables, tried before the work."""
    with folder_to_fill(options.out.parent, OTHER):
        for suffix in (".json", ".md"):
            try_file(options.out.with_suffix(suffix), OTHER)
        yield
