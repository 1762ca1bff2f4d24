"""The add-on's client as the measured one: frames until they lie as files in the editor's folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import model_server
from model_server.bench.inputs import Inputs
from model_server.bench.server import Course, Server
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.request import DubRequest, PoseVideo

_CHECKOUT = Path(model_server.__file__).parents[1]
_PROGRAM = "tests.bench.addon_client"
SECONDS = 3600


def available() -> bool:
    """Whether this is a checkout; an installed server has no add-on beside it."""
    return _CHECKOUT.joinpath(*_PROGRAM.split(".")).with_suffix(".py").is_file()


def addon_dub(server: Server, inputs: Inputs, request: DubRequest, folder: Path) -> Course:
    """One dub by the add-on's client, in a process of its own.

    Args:
        inputs: the request's files.
        folder: where the frames go.

    Raises:
        PoseDubError: the dub failed.
    """
    command = [sys.executable, "-m", _PROGRAM, server.address]
    plan = json.dumps(_plan(inputs, request, folder))
    run = subprocess.run(command, cwd=_CHECKOUT, input=plan, capture_output=True, text=True, timeout=SECONDS)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no word"])[-1]
        raise PoseDubError(f"The add-on's client failed ({last}); run the tests.", ErrorKind.UNAVAILABLE)
    course = json.loads(run.stdout)
    return Course(tuple(course["frames"]), course["end"])


def _plan(inputs: Inputs, request: DubRequest, folder: Path) -> dict[str, Any]:
    """A plan as the add-on writes it."""
    spec, face = request.spec, {"crop": inputs.crop, "at": None}
    assert isinstance(spec.pose, PoseVideo)
    pose = {"kind": "video", "file": str(inputs.pose), "face": face, "codes": []}
    return {
        "uid": "bench",
        "name": "bench",
        "folder": str(folder),
        "portrait": {"file": str(inputs.portrait), "time": "0", "face": face},
        "speech": {"file": str(inputs.speech), "start": str(spec.speech.start)},
        "pose": pose | {"start": str(spec.pose.start), "speed": str(spec.pose.speed)},
        "fps": str(spec.fps),
        "frame_count": spec.frame_count,
        "first": request.first,
        "end": request.end,
        "seed": spec.seed,
    }
