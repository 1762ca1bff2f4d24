"""Frames made by workers, here threads in the place of Ray's actors: as in one process, whoever dies meanwhile."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch

from model_server.engines.pcavs import precision
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import write_weights
from model_server.engines.weights import default_weights, describe
from model_server.errors import PoseDubError
from model_server.files import file_digest
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.ray_workers import farm as farming
from model_server.jobs.execution.ray_workers.cluster import WorkerLostError
from model_server.jobs.execution.ray_workers.farm import Farm
from model_server.jobs.execution.ray_workers.parcels import Made, packed, unpacked
from model_server.jobs.execution.ray_workers.worker import RenderWorker
from model_server.jobs.execution.runner import Runner
from model_server.jobs.model import JobState, Warned
from model_server.jobs.queries import Queries
from model_server.jobs.store import Store
from model_server.networks.cpu import bf16
from model_server.pipeline.faces import parts
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FaceSelection,
    FootageSource,
    Output,
    Portrait,
    PoseFixed,
    PoseVideo,
    Speech,
)
from tests.pipeline.conftest import INPUTS

FRAMES = 14
ALIGNED = FaceSelection("aligned")


@dataclass
class NearWorker:
    """A worker in this process, spoken to in pickles as one elsewhere.

    Attributes:
        left: frames that it makes before it is killed.
        looks: what it was asked to look at.
        used: the weights and precision of what it was asked to draw.
    """

    worker: RenderWorker
    left: float
    elsewhere: bool
    looks: list[tuple[str, list[int]]]
    used: list[tuple[str, str]]

    def ready(self, seconds: float = 0) -> dict[str, Any]:
        self._alive()
        return self.worker.ready() | ({"host": "elsewhere"} if self.elsewhere else {})

    def load(self, weights: str, precision: str) -> str:
        self._alive()
        return self.worker.load(weights, precision)

    def cut(self, token: str, end: int) -> None:
        self.worker.cut(token, end)

    def stop(self, token: str) -> None:
        self.worker.stop(token)

    def analyse(self, task: Any) -> Iterator[Any]:
        self._alive()
        return map(_sent, self.worker.analyse(_sent(task)))

    def look(self, task: Any, kind: Any, share: frozenset[int]) -> Iterator[Any]:
        self._alive()
        self.looks.append((kind, sorted(share)))
        return map(_sent, self.worker.look(_sent(task), kind, share))

    def frames(self, task: Any, first: int, end: int) -> Iterator[Any]:
        self.used.append((task.weights, task.precision))
        for one in self.worker.frames(_sent(task), first, end):
            self._alive()
            self.left -= isinstance(one, Made)
            yield _sent(one)

    def preview(self, task: Any) -> Any:
        self._alive()
        return _sent(self.worker.preview(_sent(task)))

    def _alive(self) -> None:
        if self.left <= 0:
            raise WorkerLostError("killed")


def _sent(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@dataclass
class NearCluster:
    """Has places for workers that live as long as `lives` says, one after the other."""

    lives: list[float]
    elsewhere: bool = False
    workers: int = 2
    sent: list[bytes] = field(default_factory=list)
    looks: list[tuple[str, list[int]]] = field(default_factory=list)
    used: list[tuple[str, str]] = field(default_factory=list)

    def put(self, content: bytes) -> bytes:
        self.sent.append(content)
        return content

    def start(self, weights: list, device: str, choices: Path | None) -> NearWorker:
        with suppress(IndexError):
            life = self.lives.pop(0)
            return NearWorker(
                RenderWorker(weights, device, choices, bytes), life, self.elsewhere, self.looks, self.used
            )
        raise WorkerLostError("no more")

    def leave(self) -> None:
        """Nothing runs elsewhere."""


@pytest.fixture(scope="module")
def engines() -> EnginePool:
    return EnginePool([default_weights()], "cpu", "fp32")


@pytest.fixture(scope="module")
def request_(media: Path) -> DubRequest:
    assets = {name: file_digest(media / name) for name in ("portrait.png", "speech.wav", "pose.mp4")}
    portrait, pose = Portrait(assets["portrait.png"], ALIGNED), PoseVideo(assets["pose.mp4"], ALIGNED)
    return DubRequest(DubSpec(portrait, Speech(assets["speech.wav"]), pose, Fraction(24), FRAMES))


def stored(folder: Path, media: Path) -> Store:
    store = Store(folder)
    for name in ("portrait.png", "speech.wav", "pose.mp4"):
        store.blobs.put((media / name).read_bytes())
    return store


def made(store: Store, runner: Runner, request: DubRequest) -> list[bytes]:
    job = runner.submit(request)
    runner.run(store.claim(job.id))
    ended = store.job(job.id)
    assert ended.state is JobState.DONE, ended.error
    return [store.blobs.read(sha) for _, sha in store.frames(job.id, request.first, FRAMES)]


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, media: Path, engines: EnginePool, request_: DubRequest
) -> list[bytes]:
    store = stored(tmp_path_factory.mktemp("plain"), media)
    return made(store, Runner(store, engines), request_)


@pytest.fixture
def farm(tmp_path: Path, media: Path, engines: EnginePool, monkeypatch: pytest.MonkeyPatch):
    """Makes a store and a runner whose frames a cluster makes."""
    monkeypatch.setattr(farming, "LOOK_SECONDS", 0.05)
    farms = []

    def join(cluster: NearCluster) -> tuple[Store, Runner, Queries]:
        store, stopping = stored(tmp_path / "store", media), threading.Event()
        farms.append((Farm(cluster, store, engines, "cpu", stopping), stopping))
        runner = Runner(store, engines, stopping=stopping, making=farms[-1][0])
        return store, runner, Queries(store, engines, runner.memory, runner.encode, farms[-1][0])

    yield join
    for one, stopping in farms:
        stopping.set()
        one.stop()


@pytest.mark.parametrize("lives", [[1e9, 1e9], [3, 4, 2, 1e9]])
def test_frames_are_those_of_one_process_whoever_dies(
    farm, request_: DubRequest, plain: list[bytes], lives: list[float]
) -> None:
    store, runner, _ = farm(NearCluster(lives))
    assert made(store, runner, request_) == plain


def test_what_auto_means_is_measured_by_one_worker_for_all(
    tmp_path: Path, media: Path, untrained_weights: Path, request_: DubRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half precision may pay on one computer of a rack and not on the next, or twice not alike on the same one."""
    gains = cycle([9.0, 1.0])
    monkeypatch.setattr(precision, "_gain", lambda networks, device: next(gains))
    monkeypatch.setattr(bf16, "native", lambda: True)
    store, stopping, cluster = stored(tmp_path, media), threading.Event(), NearCluster([1e9, 1e9])
    offered = EnginePool([default_weights(), describe(untrained_weights)], "cpu")
    farm = Farm(cluster, store, offered, "cpu", stopping)
    while farm.workers < 2:
        time.sleep(0.01)
    runner = Runner(store, offered, stopping=stopping, making=farm)
    for weights in offered.weights:
        made(store, runner, replace(request_, spec=replace(request_.spec, weights=weights.id)))
    stopping.set()
    farm.stop()
    assert {weights for weights, _ in cluster.used} == {weights.id for weights in offered.weights}
    assert len(set(cluster.used)) == len(offered.weights) and not any("auto" in used for used in cluster.used)


def test_workers_elsewhere_are_sent_media_and_codes(
    farm, request_: DubRequest, plain: list[bytes], media: Path
) -> None:
    cluster = NearCluster([1e9, 1e9], elsewhere=True)
    store, runner, queries = farm(cluster)
    assert made(store, runner, request_) == plain
    assert {(media / name).read_bytes() for name in ("portrait.png", "speech.wav", "pose.mp4")} <= set(cluster.sent)
    # Another range of the dub: known frames come from the store, and what is a preview is a frame of the dub.
    assert made(store, runner, replace(request_, first=4, end=9)) == plain[4:9]
    shown = queries.preview(request_, 6, lambda: False)
    assert shown.png == plain[6] and not shown.approximate


@pytest.mark.parametrize("reading", ["encoder", "movement"])
def test_sources_are_looked_through_by_all_and_found_as_by_one(
    farm, request_: DubRequest, media: Path, engines: EnginePool, tmp_path: Path, monkeypatch, reading: str
) -> None:
    monkeypatch.setattr(parts, "PICTURES", 16)  # as many as the encoder is given at once
    cluster = NearCluster([1e9, 1e9])
    store, runner, _ = farm(cluster)
    footage = FootageSource(store.blobs.put((INPUTS / "pose.mp4").read_bytes()))
    spec = replace(request_.spec, pose_reading=reading, frame_count=40, fps=Fraction(25))
    request = DubRequest(replace(spec, output=Output("overlay", footage)), 0, 3)
    alone = stored(tmp_path / "alone", media)
    alone.blobs.put((INPUTS / "pose.mp4").read_bytes())
    while runner.making.workers < 2:
        time.sleep(0.01)
    job, plain = (runs_of(*one, request) for one in ((store, runner), (alone, Runner(alone, engines))))
    assert job == plain and len(job[0]) == 3
    # The movie that poses come from has 30 pictures: two parts, each another worker's.
    assert sorted(cluster.looks) == [("footage", []), ("pose", []), ("pose", [0]), ("pose", [1])]


def test_what_covers_a_face_is_told_by_workers(tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farming, "LOOK_SECONDS", 0.05)
    state = untrained_state("lite-in-place")
    state["lower_face.cover.cover_head.bias"] = torch.full((1,), 9.0)
    write_weights(tmp_path / "w.safetensors", state, "lite-in-place", "untrained", "covered")
    offered, stopping = EnginePool([describe(tmp_path / "w.safetensors")], "cpu", "fp32"), threading.Event()
    store, alone = stored(tmp_path / "store", media), stored(tmp_path / "alone", media)
    footage = [one.blobs.put((INPUTS / "pose.mp4").read_bytes()) for one in (store, alone)][0]
    speech, output = Speech(file_digest(media / "speech.wav")), Output("overlay", FootageSource(footage))
    request = DubRequest(DubSpec(None, speech, PoseFixed(), Fraction(25), FRAMES, output=output))
    farm = Farm(NearCluster([1e9]), store, offered, "cpu", stopping)
    told = [runs_of(store, Runner(store, offered, stopping=stopping, making=farm), request)]
    stopping.set()
    farm.stop()
    told.append(runs_of(alone, Runner(alone, offered), request))
    assert told[0] == told[1] and [one.kind for one in told[0][1]] == ["covered"]


def runs_of(store: Store, runner: Runner, request: DubRequest) -> tuple[list[bytes], set[Warned]]:
    """Frames of a dub, and what deserves a look."""
    frames = made(store, runner, request)
    (job,) = store.jobs()
    return frames, set(store.warnings(job.id))


def test_a_dub_that_cannot_be_made_says_why(farm, request_: DubRequest) -> None:
    store, runner, _ = farm(NearCluster([1e9]))
    broken = store.blobs.put(bytes(range(256)))
    spec = replace(request_.spec, portrait=Portrait(broken, ALIGNED))
    job = runner.submit(DubRequest(spec))
    runner.run(store.claim(job.id))
    assert "The file of the portrait is neither a picture nor a movie" in store.job(job.id).error


def test_a_server_that_leaves_puts_the_job_back(farm, request_: DubRequest) -> None:
    store, runner, queries = farm(NearCluster([]))
    job = runner.submit(request_)
    thread = threading.Thread(target=runner.run, args=(store.claim(job.id),))
    thread.start()
    assert "No Ray worker" in runner.making.problem()
    with pytest.raises(PoseDubError, match="stopped"):
        queries.preview(request_, 0, lambda: True)
    runner._stopping.set()
    thread.join(10)
    assert store.job(job.id).state is JobState.QUEUED


def test_parcels_come_out_as_they_went_in() -> None:
    contents = {"a": b"one\ntwo", "b": b"", "c": bytes(range(256))}
    assert unpacked(packed(contents)) == contents and unpacked(packed({})) == {}
