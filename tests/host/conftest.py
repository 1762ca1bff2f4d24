"""A Blender process with the built zip installed, a real model server, and small media made here.

POSEDUB_BPY_PYTHON names the Python whose bpy is tested; this one's by default.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

import build_addon
from tests import standins
from tests.gate import Gate
from tests.limits import HANGS
from tests.servers import ServerProcess
from tests.standins import StandIns

PYTHON = os.environ.get("POSEDUB_BPY_PYTHON", sys.executable)
RATE = 48000
LOG_LINES = 120
NOWHERE = "127.0.0.1:1"
"""Where no server is."""


class Blender:
    """A worker process; calling an attribute runs the function of that name in `scenes` or `scenes_output`."""

    def __init__(self, zip_path: Path, resources: Path, variables: Mapping[str, str] | None = None) -> None:
        self._command = [PYTHON, str(Path(__file__).with_name("worker.py")), str(zip_path)]
        # Blender has its own Python: nothing but the zip may provide the add-on's libraries.
        self._environment = os.environ | {
            "BLENDER_USER_RESOURCES": str(resources),
            "XDG_DATA_HOME": str(resources / "data"),
            "PYTHONPATH": "",
            **(variables or {}),
        }
        self._log = (resources / "worker.log").open("ab")
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=self._environment,
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda **arguments: self._call(name, arguments)

    def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"call": name, "args": arguments}, default=str) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            pytest.fail(f"Blender ended with {self._process.wait()} in {name}:\n{self._last_lines()}")
        answer = json.loads(line)
        if "error" in answer:
            pytest.fail(f"{name} in Blender:\n{answer['error']}")
        return answer["result"]

    def _last_lines(self) -> str:
        """The end of what the process wrote, with the stacks of its threads if it crashed."""
        return "\n".join(Path(self._log.name).read_text(errors="replace").splitlines()[-LOG_LINES:])

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def end(self) -> int:
        """Leave as a script does that reaches its end; the exit code."""
        assert self._process.stdin
        self._process.stdin.close()
        return self._process.wait(HANGS)

    def crash(self) -> None:
        """Die without a chance to save."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """A new Blender process."""
        if self.alive():
            self.end()
        self._process = self._start()


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> StandIns:
    """What the zip carries for its server: small wheels in place of the real ones, but the real uv."""
    return standins.make(tmp_path_factory.mktemp("parts"), build_addon.uv_wheel(build_addon.PLATFORMS["linux-x64"]))


@pytest.fixture(scope="session")
def addon_zip(tmp_path_factory: pytest.TempPathFactory, stand_ins: StandIns) -> Path:
    """The add-on's zip for this machine's Blender, built once."""
    build_addon.write_stubs()
    folder = tmp_path_factory.mktemp("zip")
    return build_addon.build(build_addon.PLATFORMS["linux-x64"], folder, ["3.11"], parts=stand_ins.parts)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, untrained_weights: Path, gate: Gate) -> Iterator[ServerProcess]:
    """A server that runs for all tests, with untrained weights."""
    options = ["--weights", str(untrained_weights)]
    with ServerProcess(tmp_path_factory.mktemp("server") / "data", options, gate) as running:
        yield running


@pytest.fixture(scope="session")
def process(addon_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blender]:
    """One Blender process for all tests."""
    worker = Blender(addon_zip, tmp_path_factory.mktemp("blender"))
    yield worker
    if worker.alive():
        worker.end()


@pytest.fixture
def blender(process: Blender) -> Blender:
    """Blender with an empty scene at 24 fps, at no server yet; a new process if a test's crashed."""
    if not process.alive():
        process.restart()
    process.new_scene()
    return process


@pytest.fixture
def dubbing(blender: Blender, server: ServerProcess) -> Blender:
    """Blender that uses the running server."""
    blender.preferences(mode="address", address=server.address)
    return blender


@contextmanager
def knowing(blender: Blender, server: ServerProcess, speech: Path, end: int) -> Iterator[None]:
    """Blender knows a server while the block runs, with a sound strip from frame 106 to `end` selected and no other."""
    blender.preferences(mode="address", address=server.address)
    blender.op(name="server_check", wait=True)
    blender.add(kind="sound", file=str(speech), name="speech", channel=3, start=101)
    blender.set_strip(name="speech", frame_offset_start=5)
    blender.set_strip(name="speech", frame_final_end=end)
    blender.select(names=["speech"])
    yield
    blender.preferences(mode="address", address=NOWHERE)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """portrait.png, speech.wav (2 s, noise), 25fps.mp4 and 2997fps.mp4 whose frame n has luma 20 + 4n."""
    folder = tmp_path_factory.mktemp("media")
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (224, 224, 3), np.uint8)).save(folder / "portrait.png")
    soundfile.write(folder / "speech.wav", random.uniform(-0.5, 0.5, 2 * RATE), RATE, "PCM_16")
    write_movie(folder / "25fps.mp4", Fraction(25))
    write_movie(folder / "2997fps.mp4", Fraction(30000, 1001))
    return folder


def write_movie(path: Path, rate: Fraction, frames: int = 50) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "1"})
        stream.width = stream.height = 224
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            picture = np.full((224, 224, 3), 20 + 4 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
