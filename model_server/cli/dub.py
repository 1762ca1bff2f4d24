"""`posedub dub`: one dub from files, in this process or on a server."""

from __future__ import annotations

import argparse
import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.cli import options as shared
from model_server.pipeline.request import MOUTH_STRENGTH, SIZE, DubRequest, DubSpec

if TYPE_CHECKING:
    from model_server.jobs.local import LocalServer
    from model_server.pipeline.request import Pose
    from model_server.service.remote import RemoteServer


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("dub", help="make a dub from a portrait, a sound and a pose source")
    parser.set_defaults(run=run)
    parser.add_argument("--portrait", type=Path, required=True, metavar="FILE", help="picture or movie of the face")
    parser.add_argument("--audio", type=Path, required=True, metavar="FILE", help="speech, any common format")
    parser.add_argument("--pose", type=Path, metavar="FILE", help="movie or picture whose head pose is taken")
    parser.add_argument("--pose-mode", choices=("fixed", "frontal"), help="without --pose (default: fixed)")
    parser.add_argument("--fps", type=shared.frame_rate, default=Fraction(25), help="25, 24000/1001, ... (default: 25)")
    parser.add_argument("--range", type=shared.frame_range, metavar="A:B", help="only frames A <= k < B")
    parser.add_argument("--mouth-strength", type=float, default=MOUTH_STRENGTH, metavar="S", help="0 to 3 (1.2)")
    parser.add_argument("--size", type=int, default=SIZE, metavar="PX", help="of the frames, 224 (default) to 512")
    parser.add_argument("--crop", choices=("auto", "aligned"), default="auto", help="aligned: faces are 224x224 crops")
    parser.add_argument("--face", type=shared.point, metavar="X,Y", help="the portrait's face nearest this point")
    parser.add_argument("--seed", type=int, default=0, help="of the generator's noise")
    shared.add_engine_options(parser)
    parser.add_argument("--server", metavar="HOST:PORT", help="use this server (default: work in this process)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the server's token")
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="certificate authority of the server, PEM")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR|FILE.mp4", help="frames, or a movie with sound")


def run(options: argparse.Namespace) -> int:
    """Make the dub and say where it is."""
    from model_server.cli import output
    from model_server.jobs.blobs import file_digest

    if options.pose and options.pose_mode:
        raise SystemExit("posedub dub: give --pose or --pose-mode, not both")
    files = {file_digest(path): path for path in (options.portrait, options.audio, options.pose) if path}
    request = _request(options, {path: asset for asset, path in files.items()})
    with _server(options) as server:
        for asset, path in files.items():
            server.add(asset, path)
        job = server.submit(request)
        output.write(server.events(job, request.first), job, options.out, options.audio)
    return 0


def _request(options: argparse.Namespace, assets: dict[Path, str]) -> DubRequest:
    from model_server.pipeline.audio import speech_duration
    from model_server.pipeline.request import FaceSelection, Portrait, Speech

    face = FaceSelection(options.crop, options.face)
    spec = DubSpec(
        portrait=Portrait(assets[options.portrait], face),
        speech=Speech(assets[options.audio]),
        pose=_pose(options, assets),
        fps=options.fps,
        frame_count=math.ceil(speech_duration(options.audio) * options.fps),
        mouth_strength=options.mouth_strength,
        seed=options.seed,
        precision=options.precision,
        weights=_weights_id(options),
        size=options.size,
    )
    return DubRequest(spec, *(options.range or (0, spec.frame_count)))


def _pose(options: argparse.Namespace, assets: dict[Path, str]) -> Pose:
    from model_server.pipeline.request import FaceSelection, PoseFixed, PoseFrontal, PoseVideo

    if options.pose:  # sampled in the middle of each frame, like the speech
        return PoseVideo(assets[options.pose], FaceSelection(options.crop), start=1 / (2 * options.fps))
    return PoseFrontal() if options.pose_mode == "frontal" else PoseFixed()


def _weights_id(options: argparse.Namespace) -> str:
    from model_server.engines.weights import describe

    return describe(options.weights[0]).id if options.weights else ""


def _server(options: argparse.Namespace) -> LocalServer | RemoteServer:
    if not options.server:
        from model_server.jobs.local import LocalServer

        return LocalServer(shared.data_folder(options, "command"), shared.engine_pool(options))
    from model_server.service.auth import Security
    from model_server.service.remote import Address, RemoteServer

    token = Security.read(options.token_file, None, None).token
    ca = options.tls_ca.read_bytes() if options.tls_ca else b""
    return RemoteServer(Address(options.server, token, ca))
