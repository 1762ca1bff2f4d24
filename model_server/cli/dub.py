"""`posedub dub`: one dub from files, in this process or on a server."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.cli import marks
from model_server.cli import options as shared
from model_server.engines.base import POSE_READINGS
from model_server.errors import PoseDubError
from model_server.pipeline.request import SIZE, DubRequest, DubSpec, Output, OutputMode, check_rate
from model_server.places import check_readable

if TYPE_CHECKING:
    from model_server.cli.frames_folder import PictureForm
    from model_server.cli.output import Telling
    from model_server.jobs.in_process import LocalServer
    from model_server.jobs.model import Job
    from model_server.pipeline.request import FaceSelection, Portrait, Pose
    from model_server.service.remote import RemoteServer

DEFAULT_RATE = Fraction(25)
FOOTAGE_RATES = (10, 240)
"""Frames per second at which a mouth can speak; slide shows have fewer."""
POSE_MODES = ("fixed", "frontal", "speech")
_OUT = f"folder for frames, or a movie with sound ({', '.join(shared.MOVIE_SUFFIXES)})"
_NEED_FOOTAGE = ("output", "into_start", "face_time", "feather", "mouth_only", "keep_where_absent", "face_source")
OUTPUTS: dict[str, OutputMode] = {"full": "full_frame", "overlay": "overlay"}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("dub", help="make a dub from a portrait, a sound and a pose source")
    parser.set_defaults(run=run)
    add_options(parser)
    add_server_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """All that one dub is made of, and where it goes."""
    parser.set_defaults(refuse=parser.error)
    parser.add_argument("--portrait", type=Path, metavar="FILE", help="picture or movie of the face")
    parser.add_argument("--audio", type=Path, required=True, metavar="FILE", help="speech, any common format")
    parser.add_argument(
        "--audio-track",
        type=int,
        default=0,
        metavar="N",
        help="sound track, from 1 (default: the default or heard one)",
    )
    parser.add_argument(
        "--audio-start",
        type=shared.signed_seconds,
        metavar="S",
        help="second of the sound at which the dub begins; below 0 it begins before it (default: where --into begins)",
    )
    parser.add_argument("--pose", type=Path, metavar="FILE", help="movie or picture whose head pose is taken")
    parser.add_argument(
        "--pose-reading",
        choices=("auto", *POSE_READINGS),
        default="auto",
        help="of --pose or --into: pose encoder, angles of the face mesh, or movement of these (default: as measured)",
    )
    parser.add_argument("--pose-mode", choices=POSE_MODES, help="without --pose (default: the engine's)")
    parser.add_argument("--fps", type=shared.frame_rate, help="25, 24000/1001, ... (default: the footage's, else 25)")
    parser.add_argument(
        "--frames", type=shared.whole(1), metavar="N", help="of the whole dub (default: to the sound's end)"
    )
    parser.add_argument("--range", type=shared.frame_range, metavar="FIRST:END", help="only frames FIRST <= k < END")
    shared.add_parameters(parser, DubSpec, size="by the weights: 224 to 512 in steps of 2 with the built-in ones")
    parser.add_argument(
        "--blinking",
        choices=("auto", "on", "off"),
        default="auto",
        help="lids close by themselves (default: where neither --into nor --pose moves them; weights must know lids)",
    )
    parser.add_argument("--crop", choices=("auto", "aligned"), default="auto", help="aligned: faces are 224x224 crops")
    parser.add_argument(
        "--face",
        type=shared.point,
        metavar="X,Y",
        help="the portrait's (with --into the footage's) face nearest here, fractions of width and height, 0 to 1",
    )
    _add_output_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR|FILE.mp4", help=_OUT)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Who makes dubs, and who signs them."""
    shared.add_engine_options(parser)
    parser.add_argument(
        "--server", metavar="ADDRESS", help="use this server: HOST:PORT (default: work in this process)"
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the server's token")
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="certificate authority of the server, PEM")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="your certificate, if the server wants one, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    marks.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Make the dub and say where it is."""
    from model_server.cli import output, target

    check(options)
    with target.tried(options.out, options.data), open_server(options) as server:
        print(output.done_text(make(options, server, output.Terminal()), options.out))
    return 0


def check(options: argparse.Namespace) -> None:
    """Leave with a sentence when options do not go together, or name files that cannot be read or written."""
    from model_server.cli import destination

    _check(options)
    destination.check(options.out, _given(options))
    for path in _given(options):
        check_readable(path)


def make(
    options: argparse.Namespace,
    server: LocalServer | RemoteServer,
    telling: Telling,
    written: Callable[[Job], bool] = lambda job: False,
) -> Job:
    """Make one dub whose options were checked, and write it unless `written` says that it lies there already."""
    from model_server.cli import output

    signer = marks.dub_signer(options)
    request, files = _asked(options, server)
    job = server.submit(request)
    if written(job):
        return job
    with _left_in_order(server, job):
        signed = marks.signed(signer, job, files, options.consent)
        place = output.Place(options.out, options.audio, options.into, _lead(options, request))
        output.write(server.events(job, request.first), job, place, signed, telling)
    return job


def _lead(options: argparse.Namespace, request: DubRequest) -> Fraction:
    """Seconds of the sound that are heard before the footage's first picture."""
    whole = options.audio_start is None and not options.into_start
    return request.spec.speech.start if whole and request.first == 0 else Fraction(0)


@contextmanager
def _left_in_order(server: LocalServer | RemoteServer, job: Job) -> Iterator[None]:
    """Whoever is interrupted, asked to end, or cannot write any more, wants no more frames."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        server.leave(job)
        raise
    except Exception:
        with suppress(PoseDubError):  # what is wrong is known already
            server.cancel(job)
        raise


def _asked(options: argparse.Namespace, server: LocalServer | RemoteServer) -> tuple[DubRequest, dict[str, Path]]:
    """The request, once the server has the files it names, and these by their ids."""
    from model_server.cli.frames_folder import check_frames
    from model_server.files import file_digest

    _fit(options, server)
    options.fps = options.fps or _footage_rate(options.into)
    _check_face_time(options)
    assets = {path: file_digest(path) for path in _given(options)}
    request = _request(options, assets)
    request.validate()
    if not shared.is_movie(options.out):
        check_frames(options.out, request, _form(options, request.spec))
    files = {asset: path for path, asset in assets.items()}
    for asset, path in files.items():
        server.add(asset, path)
    return request, files


def _fit(options: argparse.Namespace, server: LocalServer | RemoteServer) -> None:
    """Fill in what is not given by what the weights want."""
    weights = _weights_id(options)
    traits, sizes = server.traits(weights), server.sizes(weights)
    options.portrait_of_footage = traits.portrait
    if traits.portrait and not (options.portrait or options.into):
        options.refuse("give --portrait, or --into to dub somebody in footage")
    if not (options.pose or (options.into and "video" in traits.pose_sources)):
        usual = next((source for source in traits.pose_sources if source in POSE_MODES), None)
        options.pose_mode = options.pose_mode or usual
    if sizes and options.size is None:
        options.size = sizes.nearest(SIZE)


def _form(options: argparse.Namespace, spec: DubSpec) -> PictureForm:
    """What the frames' pictures have in common."""
    from model_server.cli.frames_folder import PictureForm
    from model_server.pipeline.media.sandboxed import open_footage

    if not options.into:
        return PictureForm(spec.size, spec.size)
    return PictureForm(*open_footage(options.into, spec.viewer).appearance.size, spec.output.mode == "overlay")


def _given(options: argparse.Namespace) -> list[Path]:
    """The media that were named."""
    return [path for path in (options.portrait, options.audio, options.pose, options.into) if path]


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    """What a frame is: --into and how the face lies in the footage."""
    into = parser.add_argument_group("dubbing into footage")
    into.add_argument(
        "--into", type=Path, metavar="FOOTAGE", help="movie to dub into; also portrait and pose unless these are given"
    )
    into.add_argument(
        "--into-start", type=shared.seconds, metavar="S", help="second of the footage at which the dub begins (0)"
    )
    into.add_argument("--output", choices=OUTPUTS, help="with --into: the whole frames (full, default) or an overlay")
    into.add_argument(
        "--face-time", type=shared.seconds, metavar="S", help="second of the footage that --face points into"
    )
    into.add_argument(
        "--face-source",
        choices=("auto", "in_place", "portrait"),
        help="in_place: only the lower face is drawn into each frame (default: where the weights can)",
    )
    shared.add_parameters(into, Output)


def _check(options: argparse.Namespace) -> None:
    """Leave with a sentence when options do not go together."""
    of_footage = [f"--{name.replace('_', '-')}" for name in _NEED_FOOTAGE if getattr(options, name) is not None]
    problems = [
        (options.pose and options.pose_mode, "give --pose or --pose-mode, not both"),
        (of_footage and not options.into, f"{', '.join(of_footage)} needs --into and the footage"),
        (
            options.output == "overlay" and shared.is_movie(options.out),
            "an overlay is transparent; give a folder for its frames as --out",
        ),
    ]
    if options.fps is not None:
        check_rate(options.fps)
    for wrong, sentence in problems:
        if wrong:
            options.refuse(sentence)


def _check_face_time(options: argparse.Namespace) -> None:
    """The same where --face-time lies behind the footage."""
    from model_server.pipeline.media.sandboxed import open_footage

    second = _face_second(options)
    end = None if second is None else open_footage(options.into).duration
    if end and second is not None and second >= end:
        given = f"--face-time {float(options.face_time):g}"
        options.refuse(f"{given} is behind the end of {options.into}, which lasts {float(end):.1f} s")


def _footage_rate(footage: Path | None) -> Fraction:
    from model_server.pipeline.media.sandboxed import probe

    rate = probe(footage).fps if footage else None
    return rate if rate and FOOTAGE_RATES[0] <= rate <= FOOTAGE_RATES[1] else DEFAULT_RATE


def _request(options: argparse.Namespace, assets: dict[Path, str]) -> DubRequest:
    from model_server.pipeline.request import Speech

    first = _first_second(options)
    spec = DubSpec(
        portrait=_portrait(options, assets),
        speech=Speech(assets[options.audio], first, options.audio_track),
        pose=_pose(options, assets, first),
        fps=options.fps,
        frame_count=_frame_count(options, assets, first),
        precision=options.precision,
        weights=_weights_id(options),
        output=_output(options, assets),
        viewer="blender" if options.output == "overlay" else "player",
        pose_reading=options.pose_reading,
        blinking=options.blinking,
        **shared.parameter_values(options, DubSpec),
    )
    return DubRequest(spec, *(options.range or (0, spec.frame_count)))


def _first_second(options: argparse.Namespace) -> Fraction:
    """Second of the sound at which frame 0 is shown."""
    from model_server.cli import timing

    if options.audio_start is not None:
        return options.audio_start
    return timing.first_second(options.into) + (options.into_start or 0)


def _frame_count(options: argparse.Namespace, assets: dict[Path, str], first: Fraction) -> int:
    from model_server.cli import timing

    if options.frames is not None:
        return options.frames
    count = timing.frames_of_sound(options.audio, options.audio_track, first, options.fps)
    whole = options.audio_start is None and not options.into_start
    own_sound = whole and options.into and assets[options.into] == assets[options.audio]
    return timing.frames_of_footage(options.into, count, options.fps) if own_sound else count


def _portrait(options: argparse.Namespace, assets: dict[Path, str]) -> Portrait | None:
    from model_server.pipeline.request import FaceSelection, Portrait

    if options.portrait is None and not (options.into and options.portrait_of_footage):
        return None
    if options.portrait is None:
        return Portrait(assets[options.into], FaceSelection("auto", options.face), _face_second(options) or Fraction(0))
    return Portrait(assets[options.portrait], FaceSelection(options.crop, None if options.into else options.face))


def _output(options: argparse.Namespace, assets: dict[Path, str]) -> Output:
    from model_server.pipeline.request import FootageSource

    if options.into is None:
        return Output(presence_mark=bool(options.presence_mark))
    source = FootageSource(assets[options.into], _footage_face(options), start=_footage_start(options))
    # A movie has the footage beneath.
    mode = "overlay" if shared.is_movie(options.out) else OUTPUTS[options.output or "full"]
    return Output(mode, source, face_source=options.face_source or "auto", **shared.parameter_values(options, Output))


def _footage_face(options: argparse.Namespace) -> FaceSelection:
    from model_server.pipeline.request import FaceSelection

    return FaceSelection("auto", options.face, _face_second(options))


def _face_second(options: argparse.Namespace) -> Fraction | None:
    """--face-time, counted from the footage's first picture on."""
    from model_server.cli import timing

    return (
        None if options.face_time is None else max(timing.picture_second(options.into, options.face_time), Fraction(0))
    )


def _middle(options: argparse.Namespace) -> Fraction:
    """Movies are sampled in the middle of each frame, like the speech."""
    return 1 / (2 * options.fps)


def _footage_start(options: argparse.Namespace) -> Fraction:
    return (options.into_start or Fraction(0)) + _middle(options)


def _pose(options: argparse.Namespace, assets: dict[Path, str], first: Fraction) -> Pose:
    from model_server.cli import timing
    from model_server.pipeline.request import FaceSelection, PoseFixed, PoseFrontal, PoseSpeech, PoseVideo

    if options.pose:
        start = timing.picture_second(options.pose, first + _middle(options))
        return PoseVideo(assets[options.pose], FaceSelection(options.crop), start=start)
    if options.into and not options.pose_mode:
        return PoseVideo(assets[options.into], _footage_face(options), start=_footage_start(options))
    modes: dict[str, Pose] = {"frontal": PoseFrontal(), "speech": PoseSpeech()}
    return modes.get(options.pose_mode, PoseFixed())


def _weights_id(options: argparse.Namespace) -> str:
    given = shared.given_weights(options)
    return given[0].id if given else ""


def open_server(options: argparse.Namespace, more: Sequence[Path] = ()) -> LocalServer | RemoteServer:
    """The server that was named, else one in this process, which offers `more` weights beside those of the options."""
    if not options.server:
        from model_server.jobs.in_process import LocalServer

        return LocalServer(shared.data_folder(options, "command"), shared.engine_pool(options, more))
    from model_server.service.auth import Security, authority, own_certificate
    from model_server.service.remote import Address, RemoteServer

    token, certificate = Security.read(options.token_file).token, own_certificate(options.tls_cert, options.tls_key)
    return RemoteServer(Address(options.server, token, authority(options.tls_ca), certificate))
