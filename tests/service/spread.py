"""How dubs are spread over real Ray workers, against one server that draws by itself; each worker on one core.

    python -m tests.service.spread --frames 150 --workers 0 1 2 4

says for each number of workers (0: the server itself, held to one core) how long a dub took whose portrait and engine
are known and whose sound is new to all, from being asked for to its last frame, and what part of a linear gain that is.
What two cores gain at most is said by their milliseconds for a frame: two that draw at once may need more for each.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import psutil

from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import write_weights
from model_server.files import file_digest
from model_server.jobs.model import Ended, FrameMade, JobState
from model_server.pipeline.request import DubRequest, DubSpec, FaceSelection, Portrait, PoseFrontal, Speech
from model_server.service.remote import Address, RemoteServer
from tests.conftest import drawn_head, speechlike, write_wav
from tests.ray_cluster import RayNode, cluster_address, workers_of
from tests.servers import ServerProcess

FPS = 25
LATER = 137
"""Samples by which a dub's sound begins later than that of the one before: no window of one is one of the other."""


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--dubs", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="draw with networks of the full size, untrained")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    options = parser.parse_args()
    alone = 0.0
    for count in options.workers:
        seconds, spent = measured(count, options)
        rate = options.frames / seconds
        alone = alone or rate
        cores = min(max(count, 1), os.cpu_count() or 1)
        figures = {"workers": count, "seconds": round(seconds, 2), "frames per second": round(rate, 2)}
        share = {"share of linear": round(rate / alone / cores, 3)}
        print(json.dumps(figures | share | {"core ms per frame": spent}), flush=True)


def measured(workers: int, options: argparse.Namespace) -> tuple[float, dict[str, float]]:
    """Seconds of the quickest of some dubs, and milliseconds of a core for each of their frames by program."""
    with tempfile.TemporaryDirectory(prefix="pd") as name:
        folder = Path(name)
        extra = ["--weights", str(full_size(folder / "full.safetensors"))] if options.full else []
        with serving(workers, folder, ["--device", "cpu", "--precision", "fp32", *extra]) as server:
            requests = [asked(folder, options.frames, number) for number in range(options.dubs + 1)]
            with RemoteServer(Address(server.address)) as remote:
                for path in (*folder.glob("*.png"), *folder.glob("*.wav")):
                    remote.add(file_digest(path), path)
                made(remote, replace(requests[0], end=options.frames // 2))  # engines and the portrait are met
                before = spent_by(server)
                took = min(made(remote, one) for one in requests[1:])
                after, frames = spent_by(server), options.frames * options.dubs
    return took, {name: round(1000 * (after[name] - before.get(name, 0)) / frames, 2) for name in after}


def spent_by(server: ServerProcess) -> dict[str, float]:
    """Seconds of a core that the server, its workers and Ray's own processes had so far."""
    spent = {"server": _spent(server.process.pid)}
    for process in psutil.process_iter(["name", "cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(server.data.parent) in words or "PoseDubWorker" in words:
            part = "workers" if "PoseDubWorker" in words else "Ray"
            if process.pid != server.process.pid:
                spent[part] = spent.get(part, 0) + _spent(process.pid)
    return spent


def _spent(process: int) -> float:
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


def full_size(path: Path) -> Path:
    """A weights file of the full networks."""
    write_weights(path, untrained_state("full"), "full", "untrained", "untrained full")
    return path


def asked(folder: Path, frames: int, number: int = 0) -> DubRequest:
    """A dub of a drawn head, with a sound of its own."""
    from PIL import Image

    Image.fromarray(drawn_head()).save(folder / "head.png")
    sound = folder / f"speech{number}.wav"
    write_wav(sound, speechlike(frames / FPS + number)[number * LATER :])
    portrait = Portrait(file_digest(folder / "head.png"), FaceSelection("aligned"))
    return DubRequest(DubSpec(portrait, Speech(file_digest(sound)), PoseFrontal(), Fraction(FPS), frames))


def made(remote: RemoteServer, request: DubRequest) -> float:
    """Seconds of a dub, all of whose frames come."""
    begun, frames = time.monotonic(), 0
    for event in remote.events(remote.submit(request)):
        frames += isinstance(event, FrameMade)
        assert not isinstance(event, Ended) or event.job.state is JobState.DONE, event
    assert frames == request.end - request.first
    return time.monotonic() - begun


@contextmanager
def serving(workers: int, folder: Path, options: list[str]) -> Iterator[ServerProcess]:
    """A server with so many workers, each held to one core; one held to a core itself for none."""
    if not workers:
        with ServerProcess(folder / "server", options) as server:
            pin(server.process.pid, 0)
            yield server
        return
    address = cluster_address()
    joining = [*options, "--ray", address, "--ray-token", str(folder / "token")]
    with RayNode(folder, address, workers), ServerProcess(folder / "server", joining) as server:
        for place, process in enumerate(workers_of(server, workers)):
            pin(process, place % (os.cpu_count() or 1))
        yield server


def pin(process: int, core: int) -> None:
    """Hold all threads of a process, and those that they will begin, to a core."""
    for thread in psutil.Process(process).threads():
        os.sched_setaffinity(thread.id, {core})


if __name__ == "__main__":
    main()
