"""Where a case happens: servers of a toy engine whose frames are quick, an undisturbed one, and what is left behind."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import psutil

from blender_addon.client.connection import Endpoint
from blender_addon.client.session import Session
from blender_addon.core.engines import PlanLimits, Sizes
from blender_addon.core.events import Event, JobCancelled, JobFailed, JobFinished
from blender_addon.core.naming import frame_name
from blender_addon.core.plan import DubPlan, PoseSource, SpeechSource
from model_server.files import file_digest
from model_server.jobs.model import Ended, FrameMade, Job, JobState
from model_server.pipeline.request import DubRequest, DubSpec, PoseSpeech, Speech
from model_server.service.remote import Address, RemoteServer
from tests.conftest import speechlike, write_wav
from tests.faults.warm import Template, WarmServer
from tests.limits import HANGS
from tests.servers import ServerProcess
from tests.toy_engine.toy_engine import write_weights

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "toy_engine"
SIZE, FPS = 64, 25
Frames = dict[int, bytes]


@dataclass(frozen=True)
class Case:
    """A fault, and how often it is made.

    Attributes:
        run: takes the lab and the number of repetitions; gives figures, raises AssertionError.
    """

    name: str
    count: int
    run: Callable[[Lab, int], str]


CASES: dict[str, Case] = {}


def case(count: int = 1) -> Callable[[Callable[[Lab, int], str]], Callable[[Lab, int], str]]:
    """Register a function as the case of its name."""

    def register(run: Callable[[Lab, int], str]) -> Callable[[Lab, int], str]:
        CASES[run.__name__] = Case(run.__name__, count, run)
        return run

    return register


class Lab:
    """A folder with media and weights, and servers over folders in it.

    Attributes:
        random: of a fixed seed.
        environment: of all processes; their temporary files lie in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.random = random.Random(20261129)
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.weights = write_weights(folder / "toy.safetensors")
        self.speech = write_wav(folder / "speech.wav", speechlike(10))
        places = os.pathsep.join([str(TOY), str(ROOT)])
        self.environment = {"PYTHONPATH": places, "TMPDIR": str(self.temporary), "HOME": str(folder)}
        self.servers: list[ServerProcess] = []
        self.templates: list[Template] = []
        self._usual = ["--weights", str(self.weights), "--device", "cpu"]
        self._reference: ServerProcess | None = None
        self._seeds = iter(range(1, 1 << 30))

    def seed(self) -> int:
        """One that no job had yet."""
        return next(self._seeds)

    def server(self, data: Path | None = None, options: tuple[str, ...] = (), program: list[str] | None = None,
               **environment: str) -> ServerProcess:  # fmt: skip
        """A server that is not started yet, over a new data folder where none is given."""
        data = data or self.folder / f"data{len(self.servers)}"
        made = ServerProcess(data, [*self._usual, *options], environment={**self.environment, **environment})
        if program:
            made._program = program
        self.servers.append(made)
        return made

    def paced_server(self, seconds: float) -> ServerProcess:
        """One whose frames come over a time that does not depend on how busy the computer is, as from networks.

        It starts quickly, again and again.
        """
        data = self.folder / f"data{len(self.servers)}"
        made = WarmServer(data, self._usual)
        made.template = Template(self.environment | {"POSEDUB_FAULT": "slow", "POSEDUB_PACE": str(seconds)})
        self.templates.append(made.template)
        self.servers.append(made)
        return made

    def request(self, seed: int, frames: int = 50) -> DubRequest:
        """A dub of that many frames."""
        speech = Speech(file_digest(self.speech))
        return DubRequest(DubSpec(None, speech, PoseSpeech(), Fraction(FPS), frames, size=SIZE, seed=seed))

    def submit(self, remote: RemoteServer, request: DubRequest) -> Job:
        """Upload what is lacking and queue a dub."""
        remote.add(file_digest(self.speech), self.speech)
        return remote.submit(request)

    def frames(self, server: ServerProcess, request: DubRequest, got: Frames | None = None) -> Frames:
        """All frames of a dub by the command's client; those of `got` are not fetched again."""
        with RemoteServer(Address(server.address)) as remote:
            return follow(remote, self.submit(remote, request), {} if got is None else got)

    def expected(self, request: DubRequest) -> Frames:
        """The same of a server that nothing happens to."""
        return self.frames(self.undisturbed(), request)

    def undisturbed(self) -> ServerProcess:
        if self._reference is None:
            self._reference = self.server(self.folder / "reference").start()
        return self._reference

    def expected_by_addon(self, request: DubRequest) -> Frames:
        """The same by the add-on, whose requests say more, so that its jobs have other names."""
        dub = AddonDub(self.undisturbed().address, self.plan(request, self.folder / f"expected{request.spec.seed}"))
        frames = dub.frames()
        dub.close()
        return frames

    def plan(self, request: DubRequest, folder: Path) -> DubPlan:
        """The same dub as the add-on plans it."""
        return DubPlan(
            uid=folder.name,
            name=folder.name,
            folder=folder,
            portrait=None,
            speech=SpeechSource(self.speech),
            pose=PoseSource("speech"),
            fps=request.spec.fps,
            frame_count=request.spec.frame_count,
            first=0,
            end=request.spec.frame_count,
            size=SIZE,
            limits=PlanLimits(2, Sizes(64, 128, 32), ("seed",)),
            seed=request.spec.seed,
        )

    def close(self) -> None:
        """End what still runs."""
        for server in self.servers:
            if server.process and server.process.poll() is None:
                server.stop()
        while self.templates:
            self.templates.pop().close()

    def left_over(self) -> list[str]:
        """What a case left behind that should not be there."""
        processes = [f"process {one.pid} {' '.join(one.cmdline())[:120]}" for one in self._processes()]
        files = [f"temporary file {path.name}" for path in self.temporary.iterdir()]
        parts = [f"part {path}" for path in self.folder.rglob(".part-*")]
        ports = [f"port {server.port}" for server in self.servers if not is_free(server.port)]
        threads = [f"thread {one.name}" for one in threading.enumerate() if one is not threading.main_thread()]
        return processes + files + parts + ports + [one for one in threads if not one.startswith(_LASTING)]

    def _processes(self) -> list[psutil.Process]:
        """Those of this lab, told by where their temporary files lie; they get some time to leave."""
        found = [one for one in psutil.process_iter() if one.pid != os.getpid() and self._is_ours(one)]
        return psutil.wait_procs(found, 20)[1]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("TMPDIR") == str(self.temporary)
        except psutil.Error:
            return False


# gRPC and this process's own fork server keep threads for as long as they live.
_LASTING = ("thread Thread-", "thread grpc", "thread _", "thread ThreadPool")


_LAST = (JobFinished, JobCancelled, JobFailed)


class AddonDub:
    """A dub by the add-on's client, which goes on by itself where a server comes back."""

    def __init__(self, address: str, plan: DubPlan, retry_for: float = 300.0) -> None:
        self.plan = plan
        self._session = Session(Endpoint(address), retry_for)
        self._session.start(plan)
        self.events: list[Event] = []

    def wait(self, until: Callable[[Event], bool] = lambda event: False) -> Event:
        """Until an event that is wanted, or the last one."""
        for event in self.events:
            if isinstance(event, _LAST):
                return event
        while True:
            event = self._session._events.get(timeout=HANGS)
            self.events.append(event)
            if until(event) or isinstance(event, _LAST):
                return event

    def frames(self) -> Frames:
        """All frames of the folder, once the dub is done."""
        event = self.wait()
        assert isinstance(event, JobFinished), event
        return read_frames(self.plan)

    def close(self) -> None:
        """End its threads."""
        self._session.close(wait=HANGS)


def read_frames(plan: DubPlan) -> Frames:
    """The frames of a plan's folder."""
    names = ((k, plan.folder / frame_name(k)) for k in range(plan.first, plan.end))
    return {k: path.read_bytes() for k, path in names if path.exists()}


def follow(remote: RemoteServer, job: Job, got: Frames) -> Frames:
    """Fetch what `got` lacks, which is filled; the job must be done in the end."""
    for event in remote.events(job, len(got)):
        if isinstance(event, FrameMade):
            got[event.index] = event.png
        if isinstance(event, Ended):
            assert event.job.state is JobState.DONE, event.job.error
    return got


def same(got: Frames, expected: Frames) -> None:
    """All frames, byte by byte."""
    lacking, changed = expected.keys() - got.keys(), [k for k in got if got[k] != expected.get(k)]
    assert not lacking and not changed, f"{len(lacking)} frames lack {sorted(lacking)[:5]}, others differ {changed[:5]}"


def one_sentence(text: str) -> str:
    """`text`, which must be one sentence for an editor."""
    assert text.endswith(".") and "\n" not in text and "Traceback" not in text, text
    return text


def is_free(port: int) -> bool:
    """Whether nobody serves on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of `size` bytes mounted at a new folder; needs the rights to mount one."""
    import subprocess

    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def with_frames(request: DubRequest, frames: int) -> DubRequest:
    """The same dub with another number of frames."""
    return DubRequest(replace(request.spec, frame_count=frames))
