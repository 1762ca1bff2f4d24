"""`posedub corpus`: make training corpora from renders, footage or voices, look into them, join them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_server.cli import align, progress
from model_server.cli import options as shared
from model_server.files import atomic_file
from model_server.places import check_readable, folder_to_fill, try_file

if TYPE_CHECKING:
    from model_server.corpus.build import Plan, Shares
    from model_server.corpus.layouts import SourceVideo
    from model_server.corpus.shards import Corpus

SHEET = "contact_sheet.png"
OTHER = "choose another --out"
_EXAMPLES = 3


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register `corpus head`, `synthetic`, `footage`, `portraits`, `speech`, `align`, `info` and `merge`."""
    corpus = commands.add_parser("corpus", help="make, inspect and join training corpora")
    actions = corpus.add_subparsers(required=True, metavar="ACTION")
    head = actions.add_parser("head", help="make ict.npz, from which synthetic people are rendered, of ICT-FaceKit")
    head.add_argument("folder", type=Path, metavar="FaceXModel", help="folder of that name in a copy of ICT-FaceKit")
    head.add_argument("--out", type=Path, required=True, metavar="ict.npz")
    head.set_defaults(run=_head)
    _add_synthetic(actions)
    _add_footage(actions)
    _add_portraits(actions)
    _add_speech(actions)
    align.add_parser(actions)
    info = actions.add_parser("info", help="show what a corpus holds and draw its contact sheet")
    info.add_argument("folder", type=Path, metavar="DIR")
    info.add_argument("--sheet", type=Path, metavar="X.png", help="draw a contact sheet there")
    info.add_argument("--landmarks", action="store_true", help="mark the landmarks on it")
    info.set_defaults(run=_info)
    merge = actions.add_parser("merge", help="join corpora; the shards are linked or copied")
    merge.add_argument("sources", type=Path, nargs="+", metavar="DIR")
    merge.add_argument("--out", type=Path, required=True, metavar="DIR")
    merge.set_defaults(run=_merge)


def _add_synthetic(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser("synthetic", help="render talking heads with exact labels")
    parser.add_argument("--ict", type=Path, required=True, metavar="ict.npz", help="of `corpus head`")
    parser.add_argument("--identities", type=shared.whole(1), default=100, metavar="N", help="people (default: 100)")
    parser.add_argument("--clips-per-identity", type=shared.whole(1), default=5, metavar="C", help="default: 5")
    parser.add_argument("--actor", action="store_true", help="one person in a studio, to train DAE-Talker on")
    parser.add_argument("--minutes", type=shared.number(0), default=20.0, metavar="N", help="of --actor (20)")
    parser.add_argument("--size", type=shared.whole(32), default=128, metavar="PX", help="of --actor's pictures (128)")
    parser.add_argument("--first", type=shared.whole(0), default=0, metavar="N", help="--actor's first clip (0)")
    parser.add_argument(
        "--turning", type=shared.number(0, 1), default=0.3, metavar="PART", help="of --actor's clips turn far (0.3)"
    )
    parser.add_argument("--frames", type=shared.whole(1), metavar="F", help="frames of a clip (50; --actor: 500)")
    parser.add_argument("--seed", type=shared.whole(0), default=0, help="of everything (default: 0)")
    parser.add_argument("--voices", nargs="+", default=(), metavar="V", help="eSpeak NG voices, as en-us+f2 (many)")
    parser.add_argument("--texture", type=shared.whole(16), metavar="PX", help="side of the face texture (256; 512)")
    parser.add_argument("--strands", type=shared.whole(0), help="strands of scalp hair (1000; 3000)")
    parser.add_argument("--supersampling", type=shared.whole(1), help="samples along a pixel's side (2; 3)")
    parser.add_argument("--speech", type=Path, metavar="DIR", help="corpus of voices with times, to be spoken too")
    parser.add_argument(
        "--speech-share",
        type=shared.number(0, 1),
        default=0.5,
        metavar="PART",
        help="of the clips that it speaks (0.5)",
    )
    parser.add_argument(
        "--other-mouths",
        type=shared.whole(0),
        default=0,
        metavar="N",
        help="pictures of each frame with other mouths, to train drawing in place (0)",
    )
    parser.add_argument(
        "--varied",
        action="store_true",
        help="glasses, beards, make-up, more hair styles, light, places, wide gaze and slow lids too",
    )
    parser.add_argument(
        "--camera",
        type=shared.number(0, 1),
        default=0.0,
        metavar="PART",
        help="of the clips with a camera's colours, blur, noise and compression (0)",
    )
    _add_common(parser)
    parser.set_defaults(run=_synthetic)


def _add_footage(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser("footage", help="crop talking faces out of videos")
    parser.add_argument("sources", type=Path, nargs="+", metavar="SRC", help="folders or video files")
    parser.add_argument("--layout", choices=("auto", "voxceleb2", "lrw", "grid", "flat"), default="auto")
    parser.add_argument("--identity-from", choices=("folder", "name"), default="folder", help="of flat layouts")
    parser.add_argument(
        "--max-frames", type=shared.whole(1), metavar="F", help="longer videos are cut (250; --single-actor: 500)"
    )
    parser.add_argument(
        "--min-frames", type=shared.whole(1), default=25, metavar="F", help="shorter clips are dropped (25)"
    )
    parser.add_argument(
        "--min-face", type=shared.whole(1), default=60, metavar="PX", help="narrower faces are dropped (60)"
    )
    parser.add_argument("--single-actor", action="store_true", help="one view of each video, to train DAE-Talker on")
    parser.add_argument("--size", type=shared.whole(32), default=128, metavar="PX", help="of --single-actor (128)")
    parser.add_argument("--min-minutes", type=shared.number(0), default=1.0, metavar="N", help="the same (1)")
    _add_common(parser)
    parser.set_defaults(run=_footage)


def _add_portraits(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser("portraits", help="turn photographs of people, one each, a little over their own faces")
    parser.add_argument("folder", type=Path, metavar="DIR", help="of photographs")
    parser.add_argument("--frames", type=shared.whole(3), metavar="F", help="of each photograph's clip (8; --ict: 14)")
    parser.add_argument("--seed", type=shared.whole(0), default=0, help="of the turns (0)")
    parser.add_argument(
        "--ict", type=Path, metavar="FILE", help="ICT-FaceKit's ict.npz: mouths move, to learn lower faces (no speech)"
    )
    parser.add_argument(
        "--min-face", type=shared.whole(1), default=60, metavar="PX", help="narrower faces are dropped (60)"
    )
    _add_common(parser)
    parser.set_defaults(run=_portraits)


def _add_speech(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser("speech", help="collect voices and what they say, to train speech recognisers")
    parser.add_argument("sources", type=Path, nargs="*", metavar="SRC", help="folders of sounds with their texts")
    parser.add_argument("--language", default="en", help="where the sources tell none (en)")
    parser.add_argument("--espeak", type=shared.whole(0), default=0, metavar="N", help="clips of eSpeak NG voices (0)")
    parser.add_argument("--seed", type=shared.whole(0), default=0, help="of those (0)")
    parser.add_argument(
        "--recogniser", type=Path, metavar="FILE", help="weights that find the times of the recordings' phonemes"
    )
    parser.add_argument("--hold-out", nargs="+", default=(), metavar="GLOB", help="clips for testing, by their names")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the corpus; a broken-off one goes on")
    parser.add_argument("--val", type=shared.number(0, 1), default=0.02, metavar="PART", help="for validation (0.02)")
    parser.add_argument("--workers", type=shared.whole(1), default=1, metavar="W", help="processes (1)")
    parser.set_defaults(run=_speech)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the corpus; a broken-off one goes on")
    parser.add_argument("--val", type=shared.number(0, 1), default=0.05, metavar="PART", help="for validation (0.05)")
    parser.add_argument("--test", type=shared.number(0, 1), default=0.1, metavar="PART", help="for testing (0.1)")
    parser.add_argument("--workers", type=shared.whole(1), default=1, metavar="W", help="processes (1)")


def _shares(options: argparse.Namespace) -> Shares:
    from model_server.corpus.build import Shares

    return Shares(options.val, options.test)


def _head(options: argparse.Namespace) -> int:
    import numpy as np

    from model_server.synthetic.face_x_model import head_archive

    try_file(options.out, OTHER)
    with atomic_file(options.out) as file:
        np.savez_compressed(file, **head_archive(options.folder))  # type: ignore[arg-type]
    return 0


def _synthetic(options: argparse.Namespace) -> int:
    from model_server.corpus.actor import synthetic as actor
    from model_server.corpus.synthetic import Settings, plan

    check_readable(options.ict)
    names = ("frames", "texture", "strands", "supersampling")
    given: dict[str, Any] = {name: value for name in names if (value := getattr(options, name)) is not None}
    given |= {"seed": options.seed, "voices": tuple(options.voices), "speech_share": options.speech_share}
    given["speech"] = options.speech and options.speech.absolute()
    ict = options.ict.absolute()
    if options.actor:
        clips = {"first": options.first, "turning": options.turning}
        wanted = actor.Settings(ict, options.minutes, size=options.size, **clips, **given)
        return _build(actor.plan(wanted, _shares(options)), options)
    given |= {name: getattr(options, name) for name in ("other_mouths", "varied", "camera")}
    people = Settings(ict, options.identities, options.clips_per_identity, **given)
    return _build(plan(people, _shares(options)), options)


def _footage(options: argparse.Namespace) -> int:
    from model_server.corpus.footage import Settings, plan
    from model_server.corpus.layouts import find_videos

    videos = find_videos(options.sources, options.layout, options.identity_from)
    if options.single_actor:
        return _actor_footage(videos, options)
    settings = Settings(options.max_frames or 250, options.min_frames, options.min_face)
    return _build(plan(videos, settings, _shares(options)), options)


def _actor_footage(videos: list[SourceVideo], options: argparse.Namespace) -> int:
    from model_server.corpus.actor.footage import Settings, check, plan

    settings = Settings(options.size, options.max_frames or 500, options.min_face, options.min_minutes)
    corpus = _built(plan(videos, settings, _shares(options)), options)
    advice = check(corpus, settings)
    _report(corpus)
    print("\n".join(f"Note:        {line}" for line in advice), end="\n" if advice else "")
    _draw_sheet(corpus, options.out / SHEET)
    return 0


def _portraits(options: argparse.Namespace) -> int:
    from model_server.corpus.portraits import MOVING_FRAMES, STILL_FRAMES, Settings, plan

    if options.ict:
        check_readable(options.ict)
    frames = options.frames or (MOVING_FRAMES if options.ict else STILL_FRAMES)
    settings = Settings(frames, options.seed, options.min_face, options.ict and options.ict.absolute())
    _report(_built(plan(options.folder, settings, _shares(options)), options))
    return 0


def _speech(options: argparse.Namespace) -> int:
    from model_server.corpus.speech.build import Settings, plan
    from model_server.corpus.speech.layouts import find_speech

    if not (options.sources or options.espeak):
        raise SystemExit("posedub corpus speech: give folders of sounds, or --espeak N")
    sources = find_speech(options.sources, options.language) if options.sources else []
    if options.recogniser:
        check_readable(options.recogniser)
    settings = Settings(
        options.espeak, options.seed, test=tuple(options.hold_out), val=options.val, recogniser=options.recogniser
    )
    _report(_built(plan(sources, settings), options))
    return 0


def _build(plan: Plan, options: argparse.Namespace) -> int:
    corpus = _built(plan, options)
    _report(corpus)
    _draw_sheet(corpus, options.out / SHEET)
    return 0


def _built(plan: Plan, options: argparse.Namespace) -> Corpus:
    shared.cache_folder()
    from model_server.corpus.build import build
    from model_server.corpus.shards import Corpus

    with folder_to_fill(options.out, OTHER), _bar() as show:
        index = build(plan, options.out, options.workers, show)
    return Corpus(options.out, index)


@contextmanager
def _bar() -> Iterator[Callable[[int, int, int], None]]:
    from tqdm import tqdm

    with tqdm(unit="shard", file=progress.stream()) as bar:

        def show(done: int, total: int, frames: int) -> None:
            if bar.total is None:
                bar.initial = done  # what an earlier run made says nothing about the speed of this one
            bar.total, bar.n = total, done
            bar.set_postfix_str(f"{frames} frames")

        yield show


def _draw_sheet(corpus: Corpus, path: Path, marks: bool = False) -> None:
    from model_server.corpus.actor.clips import is_actor_corpus, read_actor_clip
    from model_server.corpus.pictures import contact_sheet

    if not corpus.entries:
        return
    if is_actor_corpus(corpus):
        sheet = contact_sheet(corpus, side=160, marks=marks, read=read_actor_clip)
    else:
        sheet = contact_sheet(corpus, marks=marks)
    sheet.save(path)
    print(f"Contact sheet: {path}")


def _info(options: argparse.Namespace) -> int:
    from model_server.corpus.shards import Corpus

    if options.sheet:
        try_file(options.sheet, "choose another --sheet")
    corpus = Corpus.open(options.folder)
    _report(corpus)
    if options.sheet:
        _draw_sheet(corpus, options.sheet, options.landmarks)
    return 0


def _merge(options: argparse.Namespace) -> int:
    from model_server.corpus.merge import merge

    with folder_to_fill(options.out, OTHER):
        corpus = merge(options.sources, options.out)
    _report(corpus)
    return 0


def _report(corpus: Corpus) -> None:
    """Counts by split, size, an actor's poses, and what was dropped and why."""
    from model_server.corpus.actor.clips import is_actor_corpus, read_actor_clip
    from model_server.corpus.actor.statistics import described
    from model_server.corpus.shards import SPLITS

    size = sum((corpus.folder / shard).stat().st_size for shard in {entry.shard for entry in corpus.entries})
    frames = sum(entry.frames for entry in corpus.entries)
    print(f"Corpus:      {corpus.folder}, {size / 2**20:.1f} MiB, {size / max(frames, 1) / 1000:.1f} kB per frame")
    for split in ("all", *SPLITS):
        clips = [entry for entry in corpus.entries if split in ("all", entry.split)]
        people, count = len({clip.identity for clip in clips}), sum(clip.frames for clip in clips)
        print(f"{split + ':':12} {people} identities, {len(clips)} clips, {count} frames ({count / 25 / 60:.1f} min)")
    reasons = Counter(item.reason for item in corpus.index.dropped)
    if is_actor_corpus(corpus):
        print("\n".join(described([read_actor_clip(corpus, name) for name in corpus.names()])))
    print(f"Dropped:     {sum(reasons.values())}")
    for reason, count in reasons.most_common():
        examples = [item.source for item in corpus.index.dropped if item.reason == reason][:_EXAMPLES]
        print(f"  {count} x {reason}: {', '.join(examples)}{', ...' if count > _EXAMPLES else ''}")
