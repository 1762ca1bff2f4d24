"""`python -m tests.fingerprints`: SHA-256 of the pictures of six small dubs, to be compared before and after a change.

    lite crop 4f0c...

Equal lines mean equal pixels in all frames. Figures hold for one processor and one torch only.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from model_server.files import file_digest
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.in_process import LocalServer
from model_server.jobs.model import Ended, FrameMade, JobState
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FootageSource,
    Output,
    Portrait,
    Pose,
    PoseCodes,
    PoseFixed,
    PoseVideo,
    Speech,
)

INPUTS = Path(__file__).parent / "demo" / "inputs"
PORTRAIT, SPEECH, POSE = INPUTS / "portrait.png", INPUTS / "speech.flac", INPUTS / "pose.mp4"
FPS = Fraction(25)
# Name, preset, output mode, pose, frames of the dub, frames asked for.
DUBS = (
    ("lite crop fixed, a range", "lite", "crop", "fixed", 40, (30, 40)),
    ("lite overlay video", "lite", "overlay", "video", 10, (0, 10)),
    ("lite full frame keyed", "lite", "full_frame", "keyed", 10, (0, 10)),
    ("full crop keyed", "full", "crop", "keyed", 2, (0, 2)),
    ("full overlay fixed", "full", "overlay", "fixed", 2, (0, 2)),
    ("full full frame video", "full", "full_frame", "video", 3, (0, 3)),
)


def main() -> None:
    """Print a line for each dub."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("lite", "full"), help="the dubs of one preset")
    only = parser.parse_args().only
    from model_server.engines.pcavs.weights import untrained
    from model_server.engines.weights import default_weights

    weights = {"lite": default_weights(), "full": untrained("full")}
    with tempfile.TemporaryDirectory() as data, LocalServer(Path(data), EnginePool(list(weights.values()))) as server:
        for path in (PORTRAIT, SPEECH, POSE):
            server.add(file_digest(path), path)
        for name, preset, mode, pose, count, (first, end) in DUBS:
            if only in (None, preset):
                spec = _spec(weights[preset].id, mode, pose, count)
                print(f"{name:26}{_digest(server, DubRequest(spec, first, end))}", flush=True)


def _spec(weights: str, mode: str, pose: str, count: int) -> DubSpec:
    source = file_digest(POSE)
    footage = None if mode == "crop" else FootageSource(source, start=Fraction(1, 50))
    output = Output(mode, footage, mouth_only=(0.0,) if mode == "crop" else (0.25,))
    return DubSpec(
        Portrait(file_digest(PORTRAIT)),
        Speech(file_digest(SPEECH), Fraction(1, 2)),
        _pose(pose, source, count),
        FPS,
        count,
        mouth_strength=1.5,
        precision="fp32",
        weights=weights,
        output=output,
    )


def _pose(kind: str, source: str, count: int) -> Pose:
    if kind == "video":
        return PoseVideo(source, start=Fraction(1, 50))
    if kind == "fixed":
        return PoseFixed()
    keys = np.random.default_rng(7).normal(0, 0.1, (2, 12))
    shares = np.linspace(0, 1, count)[:, None]
    return PoseCodes(tuple(map(tuple, ((1 - shares) * keys[0] + shares * keys[1]).tolist())))


def _digest(server: LocalServer, request: DubRequest) -> str:
    total, seen = hashlib.sha256(), 0
    for event in server.events(server.submit(request)):
        if isinstance(event, FrameMade):
            picture = decode_png(event.png)
            total.update(f"{event.index} {picture.shape}".encode() + picture.tobytes())
            seen += 1
        elif isinstance(event, Ended) and event.job.state is not JobState.DONE:
            raise SystemExit(event.job.error)
    assert seen == request.end - request.first
    return total.hexdigest()


if __name__ == "__main__":
    main()
